/** What every BlobStore must do. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import type { BlobStore } from './blob-store.ts';

export type BlobStoreUnderTest = {
  blobs: BlobStore;
  /** Changes the stored bytes behind the store's back. */
  rot(tenant: string, hash: string): Promise<void>;
};

export function blobStoreContract(name: string, make: () => Promise<BlobStoreUnderTest>): void {
  const bytes = new TextEncoder().encode('some bytes\0é');
  const hash = createHash('sha256').update(bytes).digest('hex');

  test(`${name}: gives back the bytes under their SHA-256`, async () => {
    const { blobs } = await make();
    assert.equal(await blobs.put('a', bytes), hash);
    assert.equal(await blobs.put('a', bytes), hash);
    assert.deepEqual(new Uint8Array(await blobs.get('a', hash)), bytes);
    assert.equal(await blobs.has('a', hash), true);
  });

  test(`${name}: holds an empty blob and a big one`, async () => {
    const { blobs } = await make();
    for (const content of [new Uint8Array(), new Uint8Array(5_000_000).fill(7)]) {
      const put = await blobs.put('a', content);
      assert.ok(Buffer.from(content).equals(await blobs.get('a', put)));
    }
  });

  test(`${name}: gives back what looks like an encoding of its own`, async () => {
    const { blobs } = await make();
    const frame = zstdCompressSync(Buffer.alloc(1000, 'a'));
    for (const content of [frame, frame.subarray(0, 4), frame.subarray(0, 10), zstdCompressSync(frame)]) {
      const put = await blobs.put('a', content);
      assert.ok(Buffer.from(content).equals(await blobs.get('a', put)));
    }
  });

  test(`${name}: tenants are walls, whatever they are called (I12)`, async () => {
    const { blobs } = await make();
    const tenants = ['a', 'A', 'b', '..', '.', '', 'a/b', 'a\\b', 't-a', 'é', 'x'.repeat(300)];
    for (const [index, tenant] of tenants.entries()) {
      const own = await blobs.put(tenant, Buffer.from(`of ${index}`));
      for (const other of tenants) assert.equal(await blobs.has(other, own), other === tenant);
      await assert.rejects(blobs.get(`${tenant}x`, own), { code: 'not_found' });
    }
  });

  test(`${name}: a hash that is none leads nowhere (I11)`, async () => {
    const { blobs } = await make();
    for (const bad of ['', '../../etc/passwd', hash.toUpperCase(), `${hash}/`, hash.slice(1)]) {
      assert.equal(await blobs.has('a', bad), false);
      await assert.rejects(blobs.get('a', bad), { code: 'not_found' });
      await blobs.delete('a', bad);
    }
  });

  test(`${name}: a deleted blob is gone, and deleting again is no error`, async () => {
    const { blobs } = await make();
    await blobs.put('a', bytes);
    await blobs.delete('a', hash);
    await blobs.delete('a', hash);
    assert.equal(await blobs.has('a', hash), false);
    await assert.rejects(blobs.get('a', hash), { code: 'not_found' });
    assert.equal(await blobs.put('a', bytes), hash);
    assert.equal(await blobs.has('a', hash), true);
  });

  test(`${name}: lists what is there; what is put again is young again`, async () => {
    const { blobs } = await make();
    const hashes = [await blobs.put('a', bytes), await blobs.put('a', Buffer.from('more'))];
    await blobs.put('b', Buffer.from('of another tenant'));
    const listed = await Array.fromAsync(blobs.list('a'));
    assert.deepEqual(new Set(listed.map((blob) => blob.hash)), new Set(hashes));
    assert.deepEqual(await Array.fromAsync(blobs.list('nobody')), []);
    const put = listed.find((blob) => blob.hash === hash)?.putAtMs ?? 0;
    while (Date.now() < put + 20) await new Promise((resolve) => setTimeout(resolve, 5));
    await blobs.put('a', bytes);
    const again = (await Array.fromAsync(blobs.list('a'))).find((blob) => blob.hash === hash);
    assert.ok((again?.putAtMs ?? 0) > put);
  });

  test(`${name}: what was put since stays`, async () => {
    const { blobs } = await make();
    await blobs.put('a', bytes);
    assert.equal(await blobs.delete('a', hash, { putBeforeMs: Date.now() - 60_000 }), false);
    assert.equal(await blobs.has('a', hash), true);
    assert.equal(await blobs.delete('a', hash, { putBeforeMs: Date.now() + 60_000 }), true);
    assert.equal(await blobs.has('a', hash), false);
    // Whatever the order, the last one to ask for it to be there has it.
    for (let round = 0; round < 20; round++) {
      const deleted = blobs.delete('a', hash);
      await blobs.put('a', bytes);
      await deleted;
      assert.equal(await blobs.has('a', hash), true);
    }
  });

  test(`${name}: the same content put many times at once`, async () => {
    const { blobs } = await make();
    const hashes = await Promise.all(Array.from({ length: 20 }, () => blobs.put('a', bytes)));
    assert.deepEqual(new Set(hashes), new Set([hash]));
    assert.deepEqual(new Uint8Array(await blobs.get('a', hash)), bytes);
  });

  test(`${name}: rotten bytes are not handed out`, async () => {
    const { blobs, rot } = await make();
    await blobs.put('a', bytes);
    await rot('a', hash);
    await assert.rejects(blobs.get('a', hash), { code: 'storage_failed' });
  });
}
