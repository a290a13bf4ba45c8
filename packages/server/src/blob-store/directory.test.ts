import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { blobStoreContract } from './blob-store.contract.ts';
import { createDirectoryBlobStore } from './directory.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-blobs-'));
after(() => rmSync(root, { recursive: true, force: true }));
let made = 0;

function makeDirectory(): string {
  const directory = join(root, String(made++), 'blobs');
  mkdirSync(directory, { recursive: true });
  return directory;
}

blobStoreContract('directory', async () => {
  const directory = makeDirectory();
  return {
    blobs: createDirectoryBlobStore(directory),
    rot: async (tenant, hash) =>
      writeFileSync(join(directory, `t-${tenant}`, hash.slice(0, 2), hash), 'something else'),
  };
});

test('directory: two stores on one folder put the same content', async () => {
  const directory = makeDirectory();
  const stores = [createDirectoryBlobStore(directory), createDirectoryBlobStore(directory)];
  const content = Buffer.from('shared');
  const [first, second] = await Promise.all(stores.map((blobs) => blobs.put('a', content)));
  assert.equal(first, second);
});

test('directory: only the owner can read, and nothing temporary is left', async () => {
  const directory = makeDirectory();
  mkdirSync(join(directory, 'tmp'));
  const left = join(directory, 'tmp', 'left-by-a-crash');
  writeFileSync(left, 'half');
  utimesSync(left, 0, 0);
  const hash = await createDirectoryBlobStore(directory).put('a', Buffer.from('x'));
  const shard = join(directory, 't-a', hash.slice(0, 2));
  assert.equal(statSync(join(shard, hash)).mode & 0o777, 0o600);
  assert.equal(statSync(shard).mode & 0o777, 0o700);
  assert.deepEqual(readdirSync(join(directory, 'tmp')), []);
});

test('directory: what was left young by another process goes later', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const directory = makeDirectory();
  const blobs = createDirectoryBlobStore(directory);
  await blobs.put('a', Buffer.from('x'));
  const left = join(directory, 'tmp', 'left-by-a-crash');
  writeFileSync(left, 'half');
  await blobs.put('a', Buffer.from('y'));
  assert.deepEqual(readdirSync(join(directory, 'tmp')), ['left-by-a-crash']);
  t.mock.timers.tick(61 * 60_000);
  await blobs.put('a', Buffer.from('z'));
  assert.deepEqual(readdirSync(join(directory, 'tmp')), []);
});

test('directory: what the file system refuses is storage_failed, for as long as it does', async () => {
  const directory = makeDirectory();
  const blobs = createDirectoryBlobStore(directory);
  writeFileSync(join(directory, 'tmp'), 'a file where the folder should be');
  await assert.rejects(blobs.put('a', Buffer.from('x')), { code: 'storage_failed' });
  rmSync(join(directory, 'tmp'));
  const hash = await blobs.put('a', Buffer.from('x'));
  assert.equal(String(await blobs.get('a', hash)), 'x');
});

test('directory: text takes less room than it has, and blobs of before there was compression are read', async () => {
  const directory = makeDirectory();
  const blobs = createDirectoryBlobStore(directory);
  const text = Buffer.from('the same again, and '.repeat(5000));
  const hash = await blobs.put('a', text);
  const path = join(directory, 't-a', hash.slice(0, 2), hash);
  assert.ok(statSync(path).size < text.length / 20);
  writeFileSync(path, text);
  assert.ok(text.equals(await blobs.get('a', hash)));
  // One that looks like a frame, as it was stored then.
  const frame = zstdCompressSync(text);
  const framed = await blobs.put('a', frame);
  writeFileSync(join(directory, 't-a', framed.slice(0, 2), framed), frame);
  assert.ok(frame.equals(await blobs.get('a', framed)));
});
