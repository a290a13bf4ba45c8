/** The key that seals credentials, as it is kept in the data directory when none is given from outside. */
import { randomBytes } from 'node:crypto';
import { link, open, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AtollError } from '@atoll/protocol/errors';
import { hasCode, syncFolder, usingFile } from '../files.ts';
import { SECRET_KEY_BYTES } from './seal.ts';

/** undefined: there is no such file. Throws `wrong_secret_key` when it holds anything but a key. */
export async function readSecretKey(file: string): Promise<Uint8Array | undefined> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw new AtollError('wrong_secret_key', `${file} cannot be read`, { cause: error });
  });
  if (text === undefined) return undefined;
  const key = Buffer.from(text.trim(), 'base64');
  if (key.length === SECRET_KEY_BYTES && key.toString('base64') === text.trim()) return key;
  throw new AtollError('wrong_secret_key', `${file} does not hold ${SECRET_KEY_BYTES} bytes as base64`);
}

/**
 * Makes the file, whole and on disk before it has its name (I1): a value sealed with a key that a power cut took away is
 * lost. A file that is there already stays, and its key is the one.
 */
export async function makeSecretKey(file: string): Promise<Uint8Array> {
  const made = randomBytes(SECRET_KEY_BYTES);
  const draft = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await writeDurably(draft, `${made.toString('base64')}\n`);
    // Unlike a rename, a link never takes the place of what is there.
    await link(draft, file).catch((error: unknown) => {
      if (!hasCode(error, 'EEXIST')) throw error;
    });
    await syncFolder(dirname(file));
  } catch (error) {
    throw new AtollError('storage_failed', `${file} cannot be made`, { cause: error });
  } finally {
    await rm(draft, { force: true });
  }
  const kept = await readSecretKey(file);
  if (kept === undefined) throw new AtollError('storage_failed', `${file} was made and is gone`);
  return kept;
}

async function writeDurably(file: string, text: string): Promise<void> {
  await usingFile(await open(file, 'wx', 0o600), async (handle) => {
    await handle.writeFile(text);
    await handle.sync();
  });
}
