/**
 * What a runner remembers of a workspace since its last snapshot or restoration: each entry as it stands in the
 * snapshot, and how it looked on disk, so that what looks the same is not read again. A cache: without it, or with one
 * of another snapshot, everything is read.
 */
import type { Stats } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileEntry, SegmentRef, SnapshotEntry } from '@atoll/protocol/snapshot-format';
import type { Piece } from './putting.ts';
import { replaceFile } from './replace-file.ts';

export type KnownTree = {
  /** The snapshot that it is of. */
  root: string;
  segments: readonly SegmentRef[];
  /** In the order of the snapshot. */
  entries: readonly KnownEntry[];
};

export type KnownEntry = {
  entry: KnownSnapshotEntry;
  /** How it looked on disk; null when it changed so lately that it could change again without looking different. */
  looks: Looks | null;
};

export type KnownSnapshotEntry =
  | Exclude<SnapshotEntry, FileEntry>
  | (FileEntry & { parts: readonly Piece[] });

/** Inode, size, times in milliseconds with fractions, mode. A string, to be compared and kept. */
export type Looks = string;

/**
 * The system's clock for files ticks every 4 to 10 ms: a file that changed this shortly before it was read may change
 * again within the same tick.
 */
const TICK_MS = 30;

export function looksOf(stats: Stats, readAtMs: number): Looks | null {
  const { ino, size, mtimeMs, ctimeMs, mode } = stats;
  if (ctimeMs > readAtMs - TICK_MS) return null;
  // A directory has the size and inode that the file system gives it, and neither is in a snapshot.
  return stats.isDirectory() ? `${mtimeMs} ${mode}` : `${ino} ${size} ${mtimeMs} ${ctimeMs} ${mode}`;
}

const FORMAT = 1;

export function writeKnownTree(path: string, tree: KnownTree): Promise<void> {
  return replaceFile(path, JSON.stringify({ format: FORMAT, ...tree }));
}

/** Undefined when there is none, or none that this version can read. */
export async function readKnownTree(path: string): Promise<KnownTree | undefined> {
  try {
    const { format, ...tree } = JSON.parse(await readFile(path, 'utf8')) as KnownTree & { format: number };
    return format === FORMAT ? tree : undefined;
  } catch {
    return undefined; // Not there, or cut off by a crash: everything is read again.
  }
}

export function knownTreeFile(directory: string, workspaceId: string): string {
  return join(directory, `${workspaceId}.tree`);
}
