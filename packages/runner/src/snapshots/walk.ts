/**
 * Everything in a tree, in the order of a snapshot, from a place where its maker may still be at work: each directory
 * is held open and its names are looked up in it, so that no link is ever followed (see workspace-walk.ts). It works
 * synchronously, which is five times as fast; its caller decides when others may have a turn.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  readdirSync,
  type Stats,
} from 'node:fs';
import { AtollError } from '@atoll/protocol/errors';
import { isErrno } from '../drivers/processes.ts';

/** One name: `path` as it stands in a snapshot, `at` what the system finds it by. */
export type Found = { path: string; at: Buffer; stats: Stats };

export type WalkOptions = {
  /** The directory on this host, and its path in the snapshot. */
  root: string;
  path: string;
  /** Whether to leave out what is there, and all below it. */
  excludes: (path: string, isDirectory: boolean) => boolean;
  /** What could not be looked at. */
  onSkipped: (path: string, reason: string) => void;
  budget: WalkBudget;
};

/** What all walks of one snapshot may still see: a tree without an end must have one. */
export type WalkBudget = { entries: number };

export const MAX_ENTRIES = 500_000;
/** Each level holds a descriptor. */
const MAX_DEPTH = 256;
const NAMES_AT_ONCE = 1024;
/** A name takes 2 bytes of its directory's size or more (btrfs; ext4 12, tmpfs 20), in zfs one. */
const SMALL_DIRECTORY_BYTES = 64 * 1024;
const O_PATH = process.platform === 'linux' ? 0o10000000 : 0;
const openDirectory = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW;

export function* walk(options: WalkOptions): Generator<Found> {
  yield* walkInto(Buffer.from(options.root), options.path, 0, options);
}

function* walkInto(at: Buffer, path: string, depth: number, options: WalkOptions): Generator<Found> {
  if (depth > MAX_DEPTH)
    throw new AtollError('snapshot_failed', `${shown(path)} is more than ${MAX_DEPTH} directories deep`);
  const held = hold(at, path, options);
  if (held === undefined) return;
  try {
    for (const name of namesIn(held, path, options)) {
      const found = look(joined(held.path, name), `${path}/${name}`, options);
      if (found === undefined) continue;
      const isDirectory = found.stats.isDirectory();
      if (options.excludes(found.path, isDirectory)) continue;
      yield found;
      if (isDirectory) yield* walkInto(found.at, found.path, depth + 1, options);
    }
  } finally {
    if (held.fd !== undefined) closeSync(held.fd);
  }
}

type Held = { path: Buffer; fd: number | undefined };

/** Where there is no `/proc` (macOS), a directory is held by its path; see workspace-walk.ts. */
function hold(at: Buffer, path: string, { onSkipped }: WalkOptions): Held | undefined {
  if (process.platform !== 'linux') return { path: at, fd: undefined };
  try {
    const fd = openSync(at, openDirectory);
    return { path: Buffer.from(`/proc/self/fd/${fd}`), fd };
  } catch (error) {
    // Gone, or something else, since it was looked at.
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined;
    if (!isErrno(error, 'EACCES')) throw error;
    onSkipped(path, 'closed to the runner');
    return undefined;
  }
}

function namesIn(held: Held, path: string, { onSkipped, budget }: WalkOptions): string[] {
  try {
    const names = isSmall(held)
      ? readdirSync(held.path, 'latin1')
      : Array.from(eachName(held, budget.entries));
    budget.entries -= names.length;
    if (budget.entries < 0)
      throw new AtollError('snapshot_failed', `there are more than ${MAX_ENTRIES} files and directories`);
    // By their bytes: code units are bytes here.
    return names.sort((a, b) => (a < b ? -1 : 1));
  } catch (error) {
    if (!isErrno(error, 'EACCES')) throw error;
    onSkipped(path, 'closed to the runner');
    return [];
  }
}

/** So that its names may be read at once, which takes a third of the time. */
function isSmall({ fd }: Held): boolean {
  return fd !== undefined && fstatSync(fd).size <= SMALL_DIRECTORY_BYTES;
}

/** One more than so many at most: its maker decides how many there are. One character per byte, whatever the name. */
function* eachName({ path }: Held, most: number): Generator<string> {
  const directory = opendirSync(path, { encoding: 'latin1', bufferSize: NAMES_AT_ONCE });
  try {
    for (let left = most; left >= 0; left--) {
      const entry = directory.readSync();
      if (!entry) return;
      yield entry.name;
    }
  } finally {
    directory.closeSync();
  }
}

function look(at: Buffer, path: string, { onSkipped }: WalkOptions): Found | undefined {
  try {
    return { path, at, stats: lstatSync(at) };
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    if (!isErrno(error, 'EACCES')) throw error;
    onSkipped(path, 'closed to the runner');
    return undefined;
  }
}

function joined(directory: Buffer, name: string): Buffer {
  return Buffer.concat([directory, Buffer.from(`/${name}`, 'latin1')]);
}

/** A path of a snapshot for people to read. */
export function shown(path: string): string {
  return Buffer.from(path, 'latin1').toString();
}
