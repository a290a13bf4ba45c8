import { chmodSync, chownSync, lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { AtollError } from '@atoll/protocol/errors';
import type { SandboxOwner } from '../driver.ts';
import { createHostUids } from './host-uids.ts';
import { removeTree, runTool } from './remove-tree.ts';

/**
 * The directories of a driver whose sandboxes have users of their own, `<dataDir>/<kind>/<name>`: who owns which, and
 * which of them are ours at all. The data directory is 0700; below it, each sandbox's user passes to its own and to no
 * other.
 */
export type SandboxDirectories = {
  /** By its real path. */
  readonly dataDir: string;
  /** The directory by its real path; AtollError `sandbox_failed` when it is not of the form we make. */
  ours(directory: string): string;
  /** Of one that `ours` gave; undefined when we are not root, and sandboxes run as our own user. */
  ownerOf(path: string): SandboxOwner;
  prepare(directory: string): Promise<SandboxOwner>;
  remove(directory: string): Promise<void>;
};

export function openSandboxDirectories(given: string): SandboxDirectories {
  mkdirSync(given, { recursive: true });
  chmodSync(given, 0o700);
  const dataDir = realpathSync(given);
  const uids = isRoot() ? createHostUids(dataDir) : undefined;

  function ours(directory: string): string {
    const kind = dirname(resolve(directory));
    if ([dataDir, resolve(given)].includes(dirname(kind))) {
      return join(dataDir, basename(kind), basename(directory));
    }
    throw new AtollError('sandbox_failed', `${directory} is not of the form ${dataDir}/<kind>/<name>.`);
  }

  function ownerOf(path: string): SandboxOwner {
    const uid = uids?.for(path);
    return uid === undefined ? undefined : { uid, gid: uid };
  }

  return {
    dataDir,
    ours,
    ownerOf,
    async prepare(directory) {
      const path = ours(directory);
      const owner = ownerOf(path);
      makeDirectory(dirname(path), 0o711, undefined);
      makeDirectory(path, 0o710, owner && { uid: 0, gid: owner.gid });
      for (const part of ['workspace', 'home']) await prepareTree(join(path, part), owner);
      return owner;
    },
    async remove(directory) {
      const path = ours(directory);
      await removeTree(path);
      uids?.release(path);
    },
  };
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

async function prepareTree(path: string, owner: SandboxOwner): Promise<void> {
  const before = lstatSync(path, { throwIfNoEntry: false });
  makeDirectory(path, 0o700, owner);
  // From elsewhere, or from before the data directory moved and its uids with it.
  if (before && owner && before.uid !== owner.uid) {
    await runTool('chown', ['-Rh', `${owner.uid}:${owner.gid}`, '--', path]);
  }
}

function makeDirectory(path: string, mode: number, owner: SandboxOwner): void {
  mkdirSync(path, { recursive: true });
  // A sandbox could put a link here only if it could write in the parent, which is ours.
  if (!lstatSync(path).isDirectory()) throw new AtollError('sandbox_failed', `${path} is not a directory.`);
  if (owner) chownSync(path, owner.uid, owner.gid);
  chmodSync(path, mode);
}
