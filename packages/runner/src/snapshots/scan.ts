/**
 * Takes a snapshot of a directory that holds `workspace/` and `home/`: walks both, reads what looks different from last
 * time, stores what is new, and answers with the root. Its caller sees to it that nothing changes meanwhile.
 *
 * With `onlyIfSame` it stores nothing and gives up at the first difference. That needs no standing still: a file that
 * looks as it did has not changed since, so when all do, there was a moment (the beginning) at which nothing had.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { SkippedFiles, TakenSnapshot } from '@atoll/protocol/runner-link';
import { createExcludes } from '@atoll/protocol/snapshot-excludes';
import { comparePaths } from '@atoll/protocol/snapshot-format';
import { isErrno } from '../drivers/processes.ts';
import { createContentReader } from './contents.ts';
import { readIgnoreFile } from './ignore-file.ts';
import { type KnownEntry, type KnownSnapshotEntry, type KnownTree, looksOf } from './known-tree.ts';
import { createPacks, createPutting, type PutBlob } from './putting.ts';
import { createSegments } from './segments.ts';
import { type Found, MAX_ENTRIES, shown, walk } from './walk.ts';

export type ScanOptions = {
  directory: string;
  known: KnownTree | undefined;
  put: PutBlob;
  /** What may be read in all. */
  maxBytes: number;
  onlyIfSame?: boolean;
  /** Lets others work, now and then; rejects when the scan is to stop. */
  breathe: () => Promise<void>;
};

export type Scanned = { taken: TakenSnapshot; tree: KnownTree };

const TREES = ['home', 'workspace'];
const MAX_SHOWN_SKIPPED = 10;
const KEPT_MODE = 0o1777;
const readOnce = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Thrown through the scan when it is to find no difference, and does. */
class Differs extends Error {}

/** Undefined with `onlyIfSame` when something differs. */
export async function scan(options: ScanOptions): Promise<Scanned | undefined> {
  try {
    return await createScan(options).run();
  } catch (error) {
    if (error instanceof Differs) return undefined;
    throw error;
  }
}

function createScan({ directory, known, put, maxBytes, onlyIfSame = false, breathe }: ScanOptions) {
  const putting = createPutting(put);
  const packs = onlyIfSame ? { add: differ, flush: differ } : createPacks(putting);
  const segments = createSegments({ before: known?.segments ?? [], packs, putting });
  const read = createContentReader({ packs, maxBytes, breathe });
  const last = createCursor(known?.entries ?? [], () => noteDifference());
  const entries: KnownEntry[] = [];
  /** The first names of files that have several, by inode. */
  const firstNames = new Map<number, string>();
  const skipped = { count: 0, first: [] as { path: string; reason: string }[] } satisfies SkippedFiles;
  let files = 0;
  let sizeBytes = 0;
  let differs = known === undefined;

  async function run(): Promise<Scanned> {
    const budget = { entries: MAX_ENTRIES };
    const excludes = createExcludes(readIgnoreFile(join(directory, 'workspace')));
    for (const path of TREES) {
      firstNames.clear();
      for (const found of walk({ root: join(directory, path), path, excludes, onSkipped, budget })) {
        await add(found);
        await breathe();
      }
    }
    last.end();
    if (known && !differs) return { taken: taken(known.root), tree: { ...known, entries } };
    const finished = await segments.finish({ files, sizeBytes });
    return { taken: taken(finished.root), tree: { ...finished, entries } };
  }

  async function add(found: Found): Promise<void> {
    const looks = looksOf(found.stats, Date.now());
    const before = last.at(found.path);
    const entry = await entryOf(found, before, looks);
    if (entry === undefined) {
      if (before !== undefined) noteDifference();
      return;
    }
    const same = before !== undefined && isSame(entry, before.entry);
    if (!same) noteDifference();
    const kept = same ? before.entry : entry;
    entries.push({ entry: kept, looks });
    if (kept.kind === 'file' && found.stats.nlink > 1) firstNames.set(found.stats.ino, kept.path);
    if (!onlyIfSame) await segments.add(kept);
    if (kept.kind !== 'file') return;
    files++;
    sizeBytes += kept.size;
  }

  async function entryOf(
    found: Found,
    before: KnownEntry | undefined,
    looks: string | null,
  ): Promise<KnownSnapshotEntry | undefined> {
    const { path, stats } = found;
    if (stats.isFile() && stats.nlink > 1) {
      const target = firstNames.get(stats.ino);
      if (target !== undefined) return { kind: 'hardlink', path, target };
      if (before?.entry.kind === 'hardlink') return readFile(found, undefined);
    }
    if (before && looks !== null && looks === before.looks) return before.entry;
    if (stats.isFile()) return readFile(found, before?.entry);
    if (stats.isDirectory()) {
      return { kind: 'directory', path, mode: stats.mode & KEPT_MODE, mtime: mtimeOf(found) };
    }
    if (stats.isSymbolicLink()) {
      const target = readlinkSync(found.at, { encoding: 'latin1' });
      return { kind: 'symlink', path, mtime: mtimeOf(found), target };
    }
    onSkipped(path, stats.isSocket() ? 'a socket' : stats.isFIFO() ? 'a FIFO' : 'a device');
    return undefined;
  }

  async function readFile(
    { path, at }: Found,
    before: KnownSnapshotEntry | undefined,
  ): Promise<KnownSnapshotEntry | undefined> {
    const fd = openFile(at, path);
    if (fd === undefined) return undefined;
    try {
      const stats = fstatSync(fd, { bigint: true });
      if (!stats.isFile()) return undefined;
      const { size, hash, pieces } = await read(fd, before?.kind === 'file' ? before.parts : []);
      const mode = Number(stats.mode) & KEPT_MODE;
      return { kind: 'file', path, mode, mtime: String(stats.mtimeNs), size, hash, parts: pieces };
    } finally {
      closeSync(fd);
    }
  }

  /** Undefined when it is gone, or cannot be read. */
  function openFile(at: Buffer, path: string): number | undefined {
    try {
      return openSync(at, readOnce);
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ELOOP', 'ENXIO')) return undefined;
      if (!isErrno(error, 'EACCES', 'EPERM')) throw error;
      onSkipped(path, 'closed to the runner');
      return undefined;
    }
  }

  function onSkipped(path: string, reason: string): void {
    skipped.count++;
    if (skipped.first.length < MAX_SHOWN_SKIPPED) skipped.first.push({ path: shown(path), reason });
  }

  function noteDifference(): void {
    if (onlyIfSame) differ();
    differs = true;
    segments.differs();
  }

  function taken(root: string): TakenSnapshot {
    return { root, files, sizeBytes, storedBytes: putting.storedBytes, skipped };
  }

  return { run };
}

function differ(): never {
  throw new Differs();
}

function mtimeOf({ at }: Found): string {
  return String(lstatSync(at, { bigint: true }).mtimeNs);
}

/** Walks through the last snapshot's entries beside the walk through the tree, which has the same order. */
function createCursor(entries: readonly KnownEntry[], onMissing: () => void) {
  let next = 0;
  return {
    at(path: string): KnownEntry | undefined {
      for (let known = entries[next]; known; known = entries[++next]) {
        const order = comparePaths(known.entry.path, path);
        if (order > 0) return undefined;
        if (order === 0) return entries[next++];
        onMissing();
      }
      return undefined;
    },
    end(): void {
      if (next < entries.length) onMissing();
    },
  };
}

function isSame(a: KnownSnapshotEntry, b: KnownSnapshotEntry): boolean {
  if (a === b) return true;
  if (a.kind === 'file') return b.kind === 'file' && a.hash === b.hash && a.mode === b.mode && sameTime(a, b);
  if (a.kind === 'directory') return b.kind === 'directory' && a.mode === b.mode && sameTime(a, b);
  if (a.kind === 'symlink') return b.kind === 'symlink' && a.target === b.target && sameTime(a, b);
  return b.kind === 'hardlink' && a.target === b.target;
}

/** As far as a restoration can set it. */
function sameTime(a: { mtime: string }, b: { mtime: string }): boolean {
  const apart = BigInt(a.mtime) - BigInt(b.mtime);
  return apart > -1000n && apart < 1000n;
}
