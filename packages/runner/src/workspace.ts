import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { AtollError } from '@atoll/protocol/errors';
import { checkPath } from '@atoll/protocol/paths';
import type { FileRange, WorkspaceFile } from '@atoll/protocol/runner-link';
import type { SandboxOwner } from './driver.ts';
import { isErrno } from './drivers/processes.ts';
import { removeLiveTree } from './drivers/remove-tree.ts';
import { readExactly } from './file-stream.ts';
import { listTree } from './workspace-list.ts';
import { asAtollError, Directory, type Place, type WalkOptions, withPlace } from './workspace-walk.ts';

/**
 * A sandbox's files, for the host. Whatever the agent has put there, nothing outside is read or written, nothing
 * blocks (a FIFO is refused, not opened), and only regular files are opened. How: see workspace-walk.ts.
 * Errors are AtollErrors: `invalid_path`, `not_found`, `not_a_file`, `path_outside_workspace`, `body_too_large`.
 */
export type WorkspaceFiles = {
  /** The stream must be read or destroyed; it holds a descriptor. A range is cut where the file ends. */
  openRead(path: string, range?: FileRange): Promise<OpenedFile>;
  /** Creates parents; readers see the old file or the whole new one. A file that was there keeps its mode. */
  write(
    path: string,
    content: AsyncIterable<Uint8Array>,
    options?: { maxBytes?: number },
  ): Promise<WrittenFile>;
  /** A file, a link (not what it points to), or a directory with all that is in it. */
  remove(path: string): Promise<void>;
  /** Recursive, by the bytes of the path. `prefix` is a directory. */
  list(prefix?: string, page?: { limit?: number; cursor?: string }): Promise<WorkspacePage>;
};

export type OpenedFile = {
  sizeBytes: number;
  /** Of what is read of it. */
  contentBytes: number;
  mode: number;
  mtime: Date;
  stream: Readable;
};
export type WrittenFile = { sizeBytes: number; created: boolean };
export type WorkspacePage = { files: WorkspaceFile[]; nextCursor?: string };

export type WorkspaceOptions = {
  /** The host's path of the workspace; what leads there must be the runner's own. */
  root: string;
  owner: SandboxOwner;
  insideRoot?: string;
};

const readOnce = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const createNew = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const defaultLimit = 200;
const maxLimit = 1000;
/** How often a name may turn into something else between a look and the opening. */
const tries = 10;

export function createWorkspaceFiles({
  root,
  owner,
  insideRoot = '/workspace',
}: WorkspaceOptions): WorkspaceFiles {
  const walk: WalkOptions = { root, insideRoot, followLast: true };
  return {
    async openRead(path, range) {
      const segments = checkPath(path);
      for (let left = tries; left > 0; left--) {
        const file = await withPlace(segments, walk, (place) => openFile(place, range));
        if (file) return file;
      }
      throw new AtollError('not_a_file', `${path} keeps changing.`);
    },
    write: (path, content, { maxBytes = Number.POSITIVE_INFINITY } = {}) =>
      withPlace(checkPath(path), { ...walk, make: { owner } }, (place) =>
        replace(place, content, maxBytes, owner),
      ),
    remove: (path) => withPlace(checkPath(path), { ...walk, followLast: false }, removeAt),
    list: (prefix, page) => list(walk, prefix, page),
  };
}

/** Undefined when what was a file turned into a link: to be walked again. */
async function openFile(
  { directory, name, stats }: Place,
  range: FileRange | undefined,
): Promise<OpenedFile | undefined> {
  if (!stats) throw new AtollError('not_found', `There is no file ${name}.`);
  if (!stats.isFile()) throw new AtollError('not_a_file', `${name} is not a regular file.`);
  let handle: FileHandle;
  try {
    handle = await open(directory.at(name), readOnce);
  } catch (error) {
    if (isErrno(error, 'ELOOP')) return undefined;
    throw asAtollError(error, name);
  }
  const opened = await handle.stat();
  if (!opened.isFile()) {
    await handle.close();
    throw new AtollError('not_a_file', `${name} is not a regular file.`);
  }
  const { start, end } = within(opened.size, range);
  return {
    sizeBytes: opened.size,
    contentBytes: end - start,
    mode: opened.mode & 0o777,
    mtime: opened.mtime,
    stream: readExactly(handle, { start, end }),
  };
}

function within(size: number, range: FileRange | undefined): { start: number; end: number } {
  if (!range) return { start: 0, end: size };
  const start = Math.min(range.offset, size);
  return { start, end: Math.min(start + range.length, size) };
}

async function replace(
  { directory, name, stats }: Place,
  content: AsyncIterable<Uint8Array>,
  maxBytes: number,
  owner: SandboxOwner,
): Promise<WrittenFile> {
  if (stats && !stats.isFile()) throw new AtollError('not_a_file', `${name} is not a regular file.`);
  const temporary = directory.at(`.atoll-${randomUUID()}.tmp`);
  try {
    const handle = await open(temporary, createNew, 0o600);
    try {
      const sizeBytes = await writeAll(handle, content, maxBytes);
      // The owner first: a change of owner clears setuid, and the mode has none to begin with.
      if (owner) await handle.chown(owner.uid, owner.gid);
      await handle.chmod(stats ? stats.mode & 0o777 : 0o644);
      await rename(temporary, directory.at(name));
      return { sizeBytes, created: stats === undefined };
    } finally {
      await handle.close();
    }
  } catch (error) {
    await unlink(temporary).catch(() => {}); // Renamed, never made, or its directory is gone.
    throw asAtollError(error, name);
  }
}

async function writeAll(
  handle: FileHandle,
  content: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<number> {
  let sizeBytes = 0;
  for await (const chunk of content) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes)
      throw new AtollError(
        'body_too_large',
        `The workspace has room for ${maxBytes} bytes; this file has more.`,
      );
    for (let at = 0; at < chunk.length; ) at += (await handle.write(chunk, at)).bytesWritten;
  }
  return sizeBytes;
}

async function removeAt({ directory, name, stats }: Place): Promise<void> {
  if (!stats) throw new AtollError('not_found', `There is no ${name}.`);
  if (stats.isDirectory()) {
    if (!(await removeLiveTree(join(directory.pathForOthers, name))))
      throw new AtollError(
        'sandbox_failed',
        `${name} could not be removed: it keeps changing, or is closed to us.`,
      );
    return;
  }
  try {
    await unlink(directory.at(name));
  } catch (error) {
    throw asAtollError(error, name);
  }
}

async function list(
  walk: WalkOptions,
  prefix = '',
  { limit = defaultLimit, cursor = '' }: { limit?: number; cursor?: string } = {},
): Promise<WorkspacePage> {
  const count = Math.max(1, Math.min(limit, maxLimit));
  const segments = prefix === '' ? [] : checkPath(prefix);
  const shown = segments.length > 0 ? `${segments.join('/')}/` : '';
  if (cursor !== '' && !cursor.startsWith(shown)) throw new AtollError('invalid_cursor');
  const files = await withPlace(segments, walk, async ({ directory, name, stats }) => {
    if (!stats) throw new AtollError('not_found', `There is no directory ${prefix}.`);
    if (!stats.isDirectory()) throw new AtollError('not_found', `${prefix} is not a directory.`);
    const top = await Directory.open(directory.at(name)).catch((error: unknown) => {
      throw asAtollError(error, name);
    });
    // One more than asked for tells whether there is another page.
    return listTree(top, shown, cursor, count + 1).finally(() => top.close());
  });
  const last = files[count - 1]?.path;
  if (files.length <= count || last === undefined) return { files };
  return { files: files.slice(0, count), nextCursor: last };
}
