/**
 * Blobs as files: `<directory>/<tenant>/<first two digits>/<hash>`, folders 0700, files 0600. A blob appears whole or
 * not at all: it is written to `<directory>/tmp`, fsynced, renamed, and the folders that changed are fsynced. How its
 * bytes lie there: encoding.ts.
 */

import { hash, randomUUID } from 'node:crypto';
import type { Stats } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AtollError } from '@atoll/protocol/errors';
import { hasCode, syncFolder, usingFile } from '../files.ts';
import type { BlobStore } from './blob-store.ts';
import { decode, encode, hashOf } from './encoding.ts';

const LEFT_BEHIND_MS = 60 * 60_000;
const HASH = /^[0-9a-f]{64}$/;
/** What stays readable in a folder's name; a longer or odder tenant is stored under its own hash. */
const PLAIN_TENANT = /^[a-z0-9_-]{1,64}$/;

export function createDirectoryBlobStore(directory: string): BlobStore {
  const temporary = join(directory, 'tmp');
  const writing = new Map<string, Promise<void>>();
  /** Whoever puts one of these waits: it must not be found there, and be gone a moment later. */
  const removing = new Map<string, Promise<boolean>>();
  let prepared: { over: Promise<void>; atMs: number } | undefined;

  const pathOf = (tenant: string, hash: string) => join(directory, folderOf(tenant), hash.slice(0, 2), hash);

  async function write(path: string, content: Uint8Array): Promise<void> {
    await prepareNowAndThen();
    await makeFolder(dirname(path), directory);
    // Also when the blob is there already: whoever renamed it may have been killed before this fsync.
    const there = await isThere(path);
    if (there) await utimes(path, new Date(), new Date());
    else await writeWhole(path, join(temporary, randomUUID()), await encode(content));
    await syncFolder(dirname(path));
  }

  /** What another process leaves behind may be found young at first. */
  function prepareNowAndThen(): Promise<void> {
    if (prepared && prepared.atMs > Date.now() - LEFT_BEHIND_MS) return prepared.over;
    const over = prepare(temporary).catch((error: unknown) => {
      prepared = undefined;
      throw error;
    });
    prepared = { over, atMs: Date.now() };
    return over;
  }

  return {
    async put(tenant, content) {
      const hash = await hashOf(content);
      const path = pathOf(tenant, hash);
      await removing.get(path);
      const same = writing.get(path) ?? write(path, content).finally(() => writing.delete(path));
      writing.set(path, same);
      await storing(same);
      return hash;
    },
    async get(tenant, hash) {
      if (!HASH.test(hash)) throw notFound(hash);
      const stored = await storing(readIfThere(pathOf(tenant, hash)));
      if (stored === undefined) throw notFound(hash);
      const content = await decode(stored, hash);
      if (content === undefined)
        throw new AtollError('storage_failed', `The blob ${hash} has rotted on disk.`);
      return content;
    },
    async has(tenant, hash) {
      return HASH.test(hash) && (await storing(isThere(pathOf(tenant, hash))));
    },
    async delete(tenant, hash, { putBeforeMs } = { putBeforeMs: Number.POSITIVE_INFINITY }) {
      if (!HASH.test(hash)) return false;
      const path = pathOf(tenant, hash);
      await writing.get(path);
      const removed = removeOld(path, putBeforeMs).finally(() => removing.delete(path));
      removing.set(path, removed);
      return storing(removed);
    },
    async *list(tenant) {
      const folder = join(directory, folderOf(tenant));
      for (const shard of await namesIn(folder)) {
        for (const name of await namesIn(join(folder, shard))) {
          const found = HASH.test(name) && (await statIfThere(join(folder, shard, name)));
          if (found) yield { hash: name, putAtMs: found.mtimeMs };
        }
      }
    },
  };
}

/** Two tenants never share a folder (I12), and no name leads anywhere else (I11): `t-` or `h-`, then safe signs. */
function folderOf(tenant: string): string {
  return PLAIN_TENANT.test(tenant) ? `t-${tenant}` : `h-${hash('sha256', tenant, 'hex')}`;
}

/** Sweeps what a crash left half written; by age, since another process may be writing right now. */
async function prepare(temporary: string): Promise<void> {
  await mkdir(temporary, { recursive: true, mode: 0o700 });
  for (const name of await readdir(temporary)) {
    const path = join(temporary, name);
    const found = await statIfThere(path);
    if (found && found.mtimeMs < Date.now() - LEFT_BEHIND_MS) await rm(path, { force: true });
  }
}

async function writeWhole(path: string, temporaryPath: string, content: Uint8Array): Promise<void> {
  try {
    await usingFile(await open(temporaryPath, 'wx', 0o600), async (file) => {
      await file.writeFile(content);
      await file.datasync();
    });
    await rename(temporaryPath, path);
  } catch (error) {
    await rm(temporaryPath, { force: true });
    throw error;
  }
}

/** Makes the folder and makes its name durable, up to the store's own folder. */
async function makeFolder(folder: string, upTo: string): Promise<void> {
  if ((await mkdir(folder, { recursive: true, mode: 0o700 })) === undefined) return;
  for (let at = dirname(folder); at.startsWith(upTo); at = dirname(at)) await syncFolder(at);
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  return (await statIfThere(path))?.isFile() ?? false;
}

async function removeOld(path: string, putBeforeMs: number): Promise<boolean> {
  const found = await statIfThere(path);
  if (!found || found.mtimeMs >= putBeforeMs) return false;
  await rm(path, { force: true });
  return true;
}

async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

function notFound(hash: string): AtollError {
  return new AtollError('not_found', `There is no blob ${hash.slice(0, 64)}.`);
}

async function storing<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AtollError('storage_failed', `The blob store failed: ${reason}.`, { cause });
  }
}
