import type { Stats } from 'node:fs';
import { constants } from 'node:fs';
import { chown, type FileHandle, lstat, mkdir, open, readlink } from 'node:fs/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { SandboxOwner } from './driver.ts';
import { isErrno } from './drivers/processes.ts';

/**
 * Walks a sandbox's files from the host one segment at a time, each directory held open and each name looked up
 * in the directory held (`/proc/self/fd/N/name`), never letting the kernel follow a link. Links are read and
 * their targets walked by the same rules, so it does not matter when somebody swaps one: what is opened was
 * reached through directories of the workspace only. `..` in a link goes back to the directory we came through.
 *
 * Where there is no `/proc` (macOS), directories are held by their path: links are still never followed blindly,
 * but a directory swapped for a link between two steps gets through. Only the driver without isolation runs
 * there by default, and its sandboxes can read the user's files anyway.
 */
export class Directory {
  /** Names are looked up below it. */
  readonly path: string;
  readonly #handle: FileHandle | undefined;

  private constructor(path: string, handle: FileHandle | undefined) {
    this.path = path;
    this.#handle = handle;
  }

  static async open(path: string): Promise<Directory> {
    if (process.platform !== 'linux') {
      if (!(await lstat(path)).isDirectory()) throw Object.assign(new Error(path), { code: 'ENOTDIR' });
      return new Directory(path, undefined);
    }
    const handle = await open(path, pathOnly | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    return new Directory(`/proc/self/fd/${handle.fd}`, handle);
  }

  /** The path of this directory for another process of ours. */
  get pathForOthers(): string {
    return this.path.replace('/proc/self/', `/proc/${process.pid}/`);
  }

  at(name: string): string {
    // Not join(), which would take `.` away and leave the link to the descriptor.
    return `${this.path}/${name}`;
  }

  async close(): Promise<void> {
    await this.#handle?.close();
  }
}

/** Linux's O_PATH: a place in the tree, without the right or the side effects of opening it. */
const pathOnly = 0o10000000;
const maxLinks = 40;

export type WalkOptions = {
  root: string;
  /** Where links inside take the root to be: absolute targets below it count as inside. */
  insideRoot: string;
  /** Follow the last segment when it is a link. */
  followLast: boolean;
  /** Make missing directories, for this owner. */
  make?: { owner: SandboxOwner };
};

/** The directory that holds the last segment, its name, and what is there; undefined when nothing is. */
export type Place = { directory: Directory; name: string; stats: Stats | undefined };

/** Walks to `segments` and calls `use` with the place, while its directory is held open. */
export async function withPlace<T>(
  segments: readonly string[],
  options: WalkOptions,
  use: (place: Place) => Promise<T>,
): Promise<T> {
  const held = [await Directory.open(options.root)];
  try {
    return await use(await walk([...segments], options, held));
  } finally {
    for (const directory of held) await directory.close();
  }
}

async function walk(names: string[], options: WalkOptions, held: Directory[]): Promise<Place> {
  for (let links = 0; links <= maxLinks; ) {
    const directory = await settleDots(names, held);
    const name = names[0];
    if (name === undefined) return { directory, name: '.', stats: await lstat(directory.at('.')) };
    const last = names.length === 1;
    const stats = await look(directory, name);
    if (stats?.isSymbolicLink() && (!last || options.followLast)) {
      links++;
      const target = await readTarget(directory, name);
      if (target !== undefined) await enterLink(names, target, options, held);
      continue;
    }
    if (last) return { directory, name, stats };
    if (stats && !stats.isDirectory()) throw new AtollError('not_found', `${name} is not a directory.`);
    if (!stats && !options.make) throw new AtollError('not_found', `There is no directory ${name}.`);
    const next = await enter(directory, name, stats ? undefined : options.make);
    // Swapped since we looked: look again, and count it, so that nobody can keep us here.
    if (!next) links++;
    else {
      held.push(next);
      names.shift();
    }
  }
  throw new AtollError('path_outside_workspace', 'The path goes through too many links.');
}

/** Takes `.` and `..`, which only links can have, off the front. */
async function settleDots(names: string[], held: Directory[]): Promise<Directory> {
  for (; names[0] === '.' || names[0] === '..' || names[0] === ''; names.shift()) {
    if (names[0] !== '..') continue;
    if (held.length === 1) throw new AtollError('path_outside_workspace');
    await held.pop()?.close();
  }
  const directory = held.at(-1);
  if (!directory) throw new AtollError('path_outside_workspace');
  return directory;
}

async function look(directory: Directory, name: string): Promise<Stats | undefined> {
  try {
    return await lstat(directory.at(name));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw asAtollError(error, name);
  }
}

/** Undefined when it is a link no more. */
async function readTarget(directory: Directory, name: string): Promise<string | undefined> {
  try {
    return await readlink(directory.at(name));
  } catch (error) {
    if (isErrno(error, 'EINVAL', 'ENOENT')) return undefined;
    throw asAtollError(error, name);
  }
}

async function enterLink(
  names: string[],
  target: string,
  { insideRoot }: WalkOptions,
  held: Directory[],
): Promise<void> {
  if (target.startsWith('/')) {
    if (target !== insideRoot && !target.startsWith(`${insideRoot}/`)) {
      throw new AtollError(
        'path_outside_workspace',
        'The path goes through a link that leads out of the workspace.',
      );
    }
    for (const directory of held.splice(1)) await directory.close();
    names.splice(0, 1, ...target.slice(insideRoot.length).split('/'));
  } else {
    names.splice(0, 1, ...target.split('/'));
  }
}

/** Opens a directory, or undefined when it is none any more. */
async function enter(
  parent: Directory,
  name: string,
  make: WalkOptions['make'],
): Promise<Directory | undefined> {
  try {
    if (make) await mkdir(parent.at(name), { mode: 0o755 });
    const directory = await Directory.open(parent.at(name));
    if (make?.owner) await chown(directory.at('.'), make.owner.uid, make.owner.gid);
    return directory;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EEXIST')) return undefined;
    throw asAtollError(error, name);
  }
}

/** What the system says about a name, as the error a client can read. */
export function asAtollError(error: unknown, name: string): unknown {
  if (isErrno(error, 'ENAMETOOLONG'))
    return new AtollError('invalid_path', 'A segment of the path is too long.');
  if (isErrno(error, 'ENOENT', 'ENOTDIR')) return new AtollError('not_found', `There is no ${name}.`);
  if (isErrno(error, 'ELOOP', 'EISDIR', 'ENXIO', 'EACCES')) {
    return new AtollError('not_a_file', `${name} cannot be opened as a file.`, { cause: error });
  }
  if (isErrno(error, 'ENOSPC', 'EDQUOT')) {
    return new AtollError('storage_failed', 'The disk of the runner is full.', { cause: error });
  }
  return error;
}
