/**
 * One page of what differs between two trees. It ends when it is full, when it holds a lot of text, or when it took long,
 * so it may hold less than was asked for, even nothing, and the next one go on.
 */
import { hash } from 'node:crypto';
import { quotedPath } from '@atoll/protocol/quoted-path';
import type { EntryLooks, FileChange } from '@atoll/protocol/schemas/diff';
import type { FileEntry, SnapshotEntry } from '@atoll/protocol/snapshot-format';
import { beginning, compareTrees, isChange, type Pair, type Places } from './compare.ts';
import { textOf, unifiedHunks } from './text.ts';
import { entryAt, type GetBlob, type Tree } from './tree.ts';

/** A tree, and the bytes that its files are made of. */
export type Side = { tree: Tree; get: GetBlob };

export type PageOptions = { from: Side; to: Side; limit: number; places: Places | undefined };
export type Page = { changes: FileChange[]; next: Places | undefined };

/** Of one file, to be compared line by line. */
export const MAX_FILE_BYTES = 1024 * 1024;
/** Of one diff as JSON, which the event loop writes; and after so much of them no other one begins. */
const MAX_DIFF_CHARS = 256 * 1024;
const MAX_MS = 3000;

export async function diffPage({ from, to, limit, places }: PageOptions): Promise<Page> {
  const comparison = compareTrees(from.tree, to.tree, places ?? beginning(from.tree, to.tree));
  const changes: FileChange[] = [];
  const began = performance.now();
  let chars = 0;
  for (;;) {
    const here = comparison.places;
    const pair = await comparison.next();
    if (pair === undefined) return { changes, next: undefined };
    if (isChange(pair)) {
      if (changes.length >= limit || chars >= MAX_DIFF_CHARS) return { changes, next: here };
      const change = await describe(pair, from, to);
      changes.push(change);
      chars += jsonLength(change.diff);
    }
    if (performance.now() - began > MAX_MS) return { changes, next: comparison.places };
  }
}

/** A file that an entry is a name of. */
type Named = { entry: SnapshotEntry; file: FileEntry | undefined };

async function describe(pair: Pair, from: Side, to: Side): Promise<FileChange> {
  const [before, after] = [await named(pair.before, from), await named(pair.after, to)];
  const { text: path, bytes: pathBytes } = readable(belowTop(pair.path));
  return {
    path,
    pathBytes,
    change: before === undefined ? 'added' : after === undefined ? 'removed' : 'changed',
    before: before === undefined ? null : looksOf(before),
    after: after === undefined ? null : looksOf(after),
    ...(await contentDiff(belowTop(pair.path), { before, from, after, to })),
  };
}

async function named(entry: SnapshotEntry | undefined, { tree }: Side): Promise<Named | undefined> {
  if (entry?.kind !== 'hardlink') return entry && { entry, file: entry.kind === 'file' ? entry : undefined };
  const target = await entryAt(tree, entry.target);
  return { entry, file: target?.kind === 'file' ? target : undefined };
}

function looksOf({ entry, file }: Named): EntryLooks {
  const none = { mode: 0, sizeBytes: 0, target: null, targetBytes: null };
  if (entry.kind === 'directory') return { ...none, type: entry.kind, mode: entry.mode };
  const content = { mode: file?.mode ?? 0, sizeBytes: file?.size ?? 0 };
  if (entry.kind === 'file') return { ...none, type: entry.kind, ...content };
  const isLink = entry.kind === 'symlink';
  const { text: target, bytes: targetBytes } = readable(isLink ? entry.target : belowTop(entry.target));
  const size = isLink ? { mode: 0o777, sizeBytes: entry.target.length } : content;
  return { type: entry.kind, ...size, target, targetBytes };
}

type Both = { before: Named | undefined; from: Side; after: Named | undefined; to: Side };
type ContentDiff = Pick<FileChange, 'diff' | 'omitted'>;

const NO_DIFF: ContentDiff = { diff: null, omitted: null };
const EMPTY = hash('sha256', '', 'hex');

/** Of what is a file wherever it is there. */
async function contentDiff(path: string, { before, from, after, to }: Both): Promise<ContentDiff> {
  const [old, now] = [before?.file, after?.file];
  if ((before && !old) || (after && !now) || (old?.hash ?? EMPTY) === (now?.hash ?? EMPTY)) return NO_DIFF;
  if (Math.max(old?.size ?? 0, now?.size ?? 0) > MAX_FILE_BYTES) return { diff: null, omitted: 'too_large' };
  const was = textOf(await contentOf(old, from));
  const is = was === undefined ? undefined : textOf(await contentOf(now, to));
  if (was === undefined || is === undefined) return { diff: null, omitted: 'binary' };
  const heads = [headLine('---', old && `a/${path}`), headLine('+++', now && `b/${path}`)];
  const hunks = unifiedHunks(was, is, MAX_DIFF_CHARS);
  const diff = hunks === undefined ? null : heads.join('') + hunks;
  return jsonLength(diff) > MAX_DIFF_CHARS || diff === null
    ? { diff: null, omitted: 'too_large' }
    : { diff, omitted: null };
}

function jsonLength(text: string | null): number {
  return JSON.stringify(text).length;
}

/** A tab ends a name that holds a space. */
function headLine(mark: string, path: string | undefined): string {
  const end = path?.includes(' ') ? '\t' : '';
  return `${mark} ${path === undefined ? '/dev/null' : quotedPath(path)}${end}\n`;
}

async function contentOf(file: FileEntry | undefined, { get }: Side): Promise<Uint8Array> {
  const content = new Uint8Array(file?.size ?? 0);
  let at = 0;
  for (const { blob, offset, length } of file?.parts ?? []) {
    if (blob !== null) content.set((await get(blob)).subarray(offset, offset + length), at);
    at += length;
  }
  return content;
}

function belowTop(path: string): string {
  return path.slice(path.indexOf('/') + 1);
}

/** One character per byte, as people and programs read it. */
function readable(name: string): { text: string; bytes: string | null } {
  const bytes = Buffer.from(name, 'latin1');
  const text = bytes.toString();
  return { text, bytes: Buffer.from(text).equals(bytes) ? null : bytes.toString('base64') };
}
