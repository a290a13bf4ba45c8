import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { AtollError } from '@atoll/protocol/errors';
import { isErrno } from './processes.ts';

/**
 * Host uids for sandboxes, when the runner is root. The record of who has which uid is the owner of each
 * sandbox's `workspace` directory, so an evicted sandbox comes back as who it was, and no file has to agree
 * with the directories. Two runners on a host take different ranges, by a hash of their data directories; were
 * they to meet, a sandbox would still be behind its namespaces and both data directories' 0700.
 */
export type HostUids = {
  /** The uid this directory's workspace has, or a free one. */
  for(directory: string): number;
  release(directory: string): void;
};

export type UidRange = { first: number; count: number };

/** Uids nobody hands out (systemd's UIDS-GIDS: unused between containers' and foreign ones). */
const wide: UidRange = { first: 1_879_048_192, count: 4094 * 65_536 };
const rangeSize = 65_536;

export function createHostUids(dataDir: string, range = uidRange(dataDir)): HostUids {
  const taken = readTaken(dataDir, range);
  let next = 0;
  const free = (): number => {
    const used = new Set(taken.values());
    for (let tries = 0; tries < range.count; tries++) {
      const uid = range.first + (next++ % range.count);
      if (!used.has(uid)) return uid;
    }
    throw new AtollError('no_capacity', `All ${range.count} host uids for sandboxes are taken.`);
  };
  return {
    for(directory) {
      const uid = taken.get(directory) ?? free();
      taken.set(directory, uid);
      return uid;
    },
    release: (directory) => taken.delete(directory),
  };
}

/** The part of the host's uids that sandboxes of this data directory run as. */
export function uidRange(dataDir: string, uidMap = readUidMap()): UidRange {
  const hash = createHash('sha256').update(dataDir).digest().readUInt32BE(0);
  if (uidMap >= wide.first + wide.count) {
    const blocks = wide.count / rangeSize;
    return { first: wide.first + (hash % blocks) * rangeSize, count: rangeSize };
  }
  // Root of a container with few uids of its own: the upper half of them, which image users do not reach.
  const half = Math.floor(uidMap / 2);
  if (half < 1000) throw new AtollError('sandbox_failed', `This container has only ${uidMap} uids.`);
  return { first: half, count: half - 2 };
}

/** The end of the first mapped block: 4294967295 on a host, often 65536 in a container. */
function readUidMap(): number {
  const [inside, , length] = readFileSync('/proc/self/uid_map', 'latin1').trim().split(/\s+/);
  return Number(inside) + Number(length);
}

/** Sandboxes' directories are `<dataDir>/<kind>/<name>`. */
function readTaken(dataDir: string, range: UidRange): Map<string, number> {
  const taken = new Map<string, number>();
  for (const kind of list(dataDir)) {
    for (const name of list(join(dataDir, kind))) {
      const directory = join(dataDir, kind, name);
      const uid = statSync(join(directory, 'workspace'), { throwIfNoEntry: false })?.uid;
      if (uid !== undefined && uid >= range.first && uid < range.first + range.count)
        taken.set(directory, uid);
    }
  }
  return taken;
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}
