import type { Dirent, Stats } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { maxPathBytes, maxPathSegments } from '@atoll/protocol/paths';
import type { WorkspaceFile } from '@atoll/protocol/runner-link';
import { isErrno } from './drivers/processes.ts';
import { Directory } from './workspace-walk.ts';

/**
 * One page of a tree, by the bytes of the path, so that a cursor is simply the last path given. In that order a
 * directory's contents do not follow it at once (`a`, `a-b`, `a/c`): within a directory, `name` and the subtree
 * `name/` are two items. Of a directory only the items a page can need are kept in memory, whatever its size.
 */
export async function listTree(
  top: Directory,
  prefix: string,
  after: string,
  limit: number,
): Promise<WorkspaceFile[]> {
  const found: WorkspaceFile[] = [];
  await listInto(found, top, prefix, after, limit);
  return found;
}

async function listInto(
  found: WorkspaceFile[],
  directory: Directory,
  prefix: string,
  after: string,
  limit: number,
): Promise<void> {
  for (let done = ''; ; ) {
    const isNext = (item: string): boolean =>
      compareBytes(item, done) > 0 && reachesBehind(prefix + item, after) && fitsPath(prefix + item);
    const { items, more } = await nextItems(directory, isNext, limit - found.length);
    for (const item of items) {
      if (item.endsWith('/')) await descend(found, directory, item, prefix, after, limit);
      else await add(found, directory, item, prefix);
      if (found.length >= limit) return;
    }
    // Subtrees that gave nothing left room: go on behind them.
    done = items.at(-1) ?? done;
    if (!more) return;
  }
}

/** The first items of a directory that are asked for: its entries, and as `name/` their subtrees. */
async function nextItems(
  directory: Directory,
  isNext: (item: string) => boolean,
  count: number,
): Promise<{ items: string[]; more: boolean }> {
  let items: string[] = [];
  let more = false;
  const trim = (): void => {
    items.sort(compareBytes);
    more ||= items.length > count;
    items = items.slice(0, count);
  };
  for await (const entry of await opendir(directory.at('.'), { bufferSize: 256 })) {
    items.push(...itemsOf(entry).filter(isNext));
    if (items.length > 2 * count + 1000) trim();
  }
  trim();
  return { items, more };
}

function itemsOf(entry: Dirent): string[] {
  return entry.isDirectory() ? [entry.name, `${entry.name}/`] : [entry.name];
}

function reachesBehind(path: string, after: string): boolean {
  return compareBytes(path, after) > 0 || (path.endsWith('/') && after.startsWith(path));
}

/** Longer ones cannot be named by a path of ours, nor by a cursor. */
function fitsPath(path: string): boolean {
  return Buffer.byteLength(path) <= maxPathBytes;
}

async function descend(
  found: WorkspaceFile[],
  parent: Directory,
  item: string,
  prefix: string,
  after: string,
  limit: number,
): Promise<void> {
  const path = prefix + item;
  // Deeper ones cannot be named by a path of ours.
  if (path.split('/').length > maxPathSegments) return;
  try {
    const directory = await Directory.open(parent.at(item.slice(0, -1)));
    try {
      await listInto(found, directory, path, after, limit);
    } finally {
      await directory.close();
    }
  } catch (error) {
    // Gone, swapped for something else, or closed to us: nothing to list.
    if (!isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES')) throw error;
  }
}

async function add(
  found: WorkspaceFile[],
  directory: Directory,
  name: string,
  prefix: string,
): Promise<void> {
  try {
    const stats = await lstat(directory.at(name));
    found.push({
      path: prefix + name,
      type: typeOf(stats),
      sizeBytes: stats.size,
      mode: stats.mode & 0o777,
      modifiedAt: stats.mtime.toISOString(),
    });
  } catch (error) {
    // Gone meanwhile, or its name is not UTF-8 and cannot be said in a path.
    if (!isErrno(error, 'ENOENT', 'EACCES')) throw error;
  }
}

function typeOf(stats: Stats): WorkspaceFile['type'] {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  return stats.isSymbolicLink() ? 'symlink' : 'other';
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
