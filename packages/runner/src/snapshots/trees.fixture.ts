/** For tests: blobs in memory, and what a tree on disk holds. */
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';

export type MemoryBlobs = {
  readonly held: Map<string, Uint8Array>;
  put(content: Uint8Array): Promise<string>;
  get(hash: string): Promise<Uint8Array>;
};

export function memoryBlobs(): MemoryBlobs {
  const held = new Map<string, Uint8Array>();
  return {
    held,
    async put(content) {
      const hash = createHash('sha256').update(content).digest('hex');
      held.set(hash, content.slice());
      return hash;
    },
    async get(hash) {
      const content = held.get(hash);
      if (!content) throw new AtollError('not_found', `There is no blob ${hash}.`);
      return content;
    },
  };
}

/** Makes directories of an empty session each, below one that goes when the file's tests are over. */
export function places(name: string): { root: string; newPlace(): string } {
  const root = mkdtempSync(join(tmpdir(), `atoll-${name}-`));
  after(() => rmSync(root, { recursive: true, force: true }));
  let made = 0;
  return {
    root,
    newPlace() {
      const directory = join(root, String(made++));
      for (const part of ['workspace', 'home']) mkdirSync(join(directory, part), { recursive: true });
      return directory;
    },
  };
}

export const breathe = async (): Promise<void> => undefined;

/** Everything that a snapshot keeps, as text to compare: by path, which has one character per byte. */
export function describeTree(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  /** By the tree and the inode: names in two trees become two files. */
  const inodes = new Map<string, string>();
  const describe = (directory: Buffer, path: string): void => {
    const names = readdirSync(directory, { encoding: 'latin1' }).sort();
    for (const name of names) {
      const at = Buffer.concat([directory, Buffer.from(`/${name}`, 'latin1')]);
      const own = path === '' ? name : `${path}/${name}`;
      const stats = lstatSync(at, { bigint: true });
      const time = stats.mtimeNs;
      const mode = (Number(stats.mode) & 0o7777).toString(8);
      if (stats.isDirectory()) {
        found[own] = path === '' ? 'top' : `directory ${mode} ${time}`;
        describe(at, own);
      } else if (stats.isSymbolicLink()) {
        found[own] = `symlink ${time} ${readlinkSync(at, 'latin1')}`;
      } else if (stats.isFile()) {
        const inode = `${own.split('/')[0]} ${stats.ino}`;
        const first = inodes.get(inode);
        inodes.set(inode, first ?? own);
        const hash = createHash('sha256').update(readFileSync(at)).digest('hex');
        found[own] = first === undefined ? `file ${mode} ${time} ${stats.size} ${hash}` : `same as ${first}`;
      } else found[own] = 'special';
    }
  };
  describe(Buffer.from(root), '');
  return found;
}
