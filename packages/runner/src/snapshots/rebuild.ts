/**
 * Puts a snapshot's files into a directory that holds an empty `workspace/` and `home/`. Nothing of an agent runs there
 * yet; even so each directory is held open and entered without following links, so that no snapshot leads out.
 */
import { hash } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  ftruncateSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  type Stats,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { AtollError } from '@atoll/protocol/errors';
import {
  comparePaths,
  decodeRoot,
  decodeSegment,
  type FileEntry,
  type Part,
  type SnapshotEntry,
} from '@atoll/protocol/snapshot-format';
import type { SandboxOwner } from '../driver.ts';
import { isErrno } from '../drivers/processes.ts';
import { createBlobReader, type GetBlob } from './blob-reader.ts';
import { type KnownEntry, type KnownSnapshotEntry, type KnownTree, looksOf } from './known-tree.ts';
import type { Piece } from './putting.ts';
import { shown } from './walk.ts';

export type RebuildOptions = {
  directory: string;
  owner: SandboxOwner;
  root: string;
  get: GetBlob;
  /** Lets others work, now and then; rejects when it is to stop. */
  breathe: () => Promise<void>;
};

/** A directory that is being filled. Its own mode and time are set when that is done. */
type Held = { path: string; at: Buffer; fd: number; finish: () => void };
type Placed = { entry: KnownSnapshotEntry; stats: Stats };

const createNew = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const enter = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** The kernel takes paths up to this length; a link to a name that is further away becomes a file of its own. */
const MAX_PATH_BYTES = 4000;

export async function rebuild(options: RebuildOptions): Promise<KnownTree> {
  const work = createRebuild(options);
  try {
    return await work.run();
  } catch (error) {
    if (isErrno(error, 'ENOSPC', 'EDQUOT'))
      throw new AtollError('storage_failed', 'The disk of the runner is full.', { cause: error });
    throw error;
  } finally {
    work.close();
  }
}

function createRebuild({ directory, owner, root, get, breathe }: RebuildOptions) {
  const blobs = createBlobReader(get);
  const stack: Held[] = [];
  const placed: Placed[] = [];

  async function run(): Promise<KnownTree> {
    const { segments } = await decoded(decodeRoot, root);
    for (const [index, { hash: name }] of segments.entries()) {
      const entries = await decoded(decodeSegment, name);
      blobs.expect([...blobsOf(entries), ...segments.slice(index + 1, index + 2).map((next) => next.hash)]);
      for (const entry of entries) {
        await place(entry, parentOf(entry.path));
        await breathe();
      }
    }
    leave(0);
    const endMs = Date.now();
    return { root, segments, entries: placed.map((one) => known(one, endMs)) };
  }

  async function decoded<T>(decode: (bytes: Uint8Array) => T, name: string): Promise<T> {
    const bytes = await blobs.get(name);
    try {
      return decode(bytes);
    } catch (cause) {
      throw new AtollError('snapshot_failed', `The blob ${name} is not a part of a snapshot.`, { cause });
    }
  }

  /** The directory that the entry belongs in; those that are done are left. */
  function parentOf(path: string): Held {
    const parent = path.slice(0, path.lastIndexOf('/'));
    const depth = stack.findIndex((held) => held.path === parent);
    if (depth >= 0) leave(depth + 1);
    else if (parent.includes('/')) throw new AtollError('snapshot_failed', `${shown(path)} has no directory`);
    else {
      leave(0);
      stack.push(hold(parent, Buffer.from(join(directory, parent)), () => undefined));
    }
    const found = stack.at(-1);
    if (!found) throw new AtollError('internal');
    return found;
  }

  function leave(depth: number): void {
    for (const held of stack.splice(depth).reverse()) {
      try {
        held.finish();
      } finally {
        closeSync(held.fd);
      }
    }
  }

  async function place(entry: SnapshotEntry, parent: Held): Promise<void> {
    const at = nameIn(parent, entry.path);
    switch (entry.kind) {
      case 'directory':
        return enterNew(entry, at);
      case 'symlink':
        return placeSymlink(entry, at);
      case 'hardlink':
        return placeHardlink(entry, at);
      case 'file':
        placed.push(await writeFile(entry, at));
    }
  }

  function enterNew(entry: SnapshotEntry & { kind: 'directory' }, at: Buffer): void {
    mkdirSync(at, { mode: 0o700 });
    const held = hold(entry.path, at, () => {
      if (owner) fchownSync(held.fd, owner.uid, owner.gid);
      fchmodSync(held.fd, entry.mode);
      setTime(entry.mtime, (seconds) => futimesSync(held.fd, seconds, seconds));
      placed[index] = { entry, stats: fstatSync(held.fd) };
    });
    const index = placed.push({ entry, stats: fstatSync(held.fd) }) - 1;
    stack.push(held);
  }

  function placeSymlink(entry: SnapshotEntry & { kind: 'symlink' }, at: Buffer): void {
    symlinkSync(Buffer.from(entry.target, 'latin1'), at);
    if (owner) lchownSync(at, owner.uid, owner.gid);
    setTime(entry.mtime, (seconds) => lutimesSync(at, seconds, seconds));
    placed.push({ entry, stats: lstatSync(at) });
  }

  async function placeHardlink(entry: SnapshotEntry & { kind: 'hardlink' }, at: Buffer): Promise<void> {
    const target = placedFile(entry.target);
    // Reached through directories that were made here, so through no link.
    const path = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(entry.target, 'latin1')]);
    if (path.length > MAX_PATH_BYTES) {
      placed.push(await writeFile({ ...target, path: entry.path }, at));
      return;
    }
    linkSync(path, at);
    placed.push({ entry, stats: lstatSync(at) });
  }

  function placedFile(path: string): FileEntry {
    let [low, high] = [0, placed.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (comparePaths(placed[middle]?.entry.path ?? '', path) < 0) low = middle + 1;
      else high = middle;
    }
    const found = placed[low]?.entry;
    if (found?.kind === 'file' && found.path === path) return found;
    throw new AtollError('snapshot_failed', `There is no file ${shown(path)} for another name of it.`);
  }

  async function writeFile(entry: FileEntry, at: Buffer): Promise<Placed> {
    const fd = openSync(at, createNew, 0o600);
    try {
      const parts: Piece[] = [];
      let size = 0;
      for (const part of entry.parts) {
        parts.push(await writePart(fd, size, part, entry));
        size += part.length;
      }
      if (size !== entry.size) throw new AtollError('snapshot_failed', `${shown(entry.path)} is incomplete`);
      if (parts.at(-1)?.blob === null) ftruncateSync(fd, size);
      if (owner) fchownSync(fd, owner.uid, owner.gid);
      fchmodSync(fd, entry.mode);
      setTime(entry.mtime, (seconds) => futimesSync(fd, seconds, seconds));
      return { entry: { ...entry, parts }, stats: fstatSync(fd) };
    } finally {
      closeSync(fd);
    }
  }

  async function writePart(fd: number, position: number, part: Part, entry: FileEntry): Promise<Piece> {
    const { blob, offset, length } = part;
    const only = entry.parts.length === 1;
    if (blob === null) return { ...part, hash: only ? entry.hash : zerosHash(length) };
    const content = await blobs.get(blob);
    if (offset + length > content.length)
      throw new AtollError('snapshot_failed', `The blob ${blob} is shorter than ${shown(entry.path)} needs.`);
    const bytes = content.subarray(offset, offset + length);
    for (let at = 0; at < length; ) at += writeSync(fd, bytes, at, length - at, position + at);
    await breathe();
    if (only) return { ...part, hash: entry.hash };
    return { ...part, hash: length === content.length ? blob : hash('sha256', bytes, 'hex') };
  }

  return {
    run,
    /** What is still held when it failed. */
    close: () => {
      for (const { fd } of stack.splice(0)) closeSync(fd);
    },
  };
}

/** Linux looks names up in the directory that is held; elsewhere they are found by their path. */
function hold(path: string, at: Buffer, finish: () => void): Held {
  const fd = openSync(at, enter);
  return { path, fd, finish, at: process.platform === 'linux' ? Buffer.from(`/proc/self/fd/${fd}`) : at };
}

function nameIn({ at }: Held, path: string): Buffer {
  return Buffer.concat([at, Buffer.from(path.slice(path.lastIndexOf('/')), 'latin1')]);
}

function* blobsOf(entries: readonly SnapshotEntry[]): Generator<string> {
  for (const entry of entries) {
    if (entry.kind !== 'file') continue;
    for (const { blob } of entry.parts) if (blob !== null) yield blob;
  }
}

/**
 * Node takes seconds as a double, which is exact to a quarter of a microsecond. A number below zero it takes for now; as
 * text it means what it says.
 */
function setTime(mtime: string, set: (seconds: number | string) => void): void {
  const nanoseconds = BigInt(mtime);
  const seconds = Number(nanoseconds / 1_000_000_000n) + Number(nanoseconds % 1_000_000_000n) / 1e9;
  set(seconds < 0 ? String(seconds) : seconds);
}

function zerosHash(length: number): string {
  return hash('sha256', new Uint8Array(length), 'hex');
}

function known({ entry, stats }: Placed, endMs: number): KnownEntry {
  return { entry, looks: looksOf(stats, endMs) };
}
