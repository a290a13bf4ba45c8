import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { newId } from '@atoll/protocol/ids';
import { encodeRoot, encodeSegment } from '@atoll/protocol/snapshot-format';
import { createDirectoryBlobStore } from '../blob-store/directory.ts';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite } from '../store/sqlite-database.ts';
import { createCollector } from './collector.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-collector-'));
const store = createSqliteStore(await openSqlite({ path: join(root, 'atoll.db') }), await loadKysely());
const blobs = createDirectoryBlobStore(join(root, 'snapshots'));
const HOUR_MS = 60 * 60_000;
let nowMs = Date.now();
const collector = createCollector({ store, blobs, now: () => nowMs });
after(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

/** A snapshot of one file, and the blobs that it is made of. */
async function snapshot(tenant: string, sessionId: string, content: string): Promise<string[]> {
  const stored = await storeFile(tenant, content);
  const at = new Date(nowMs).toISOString();
  const row = {
    id: newId('snapshot'),
    tenant,
    session_id: sessionId,
    epoch: 1,
    seq: 1,
    status: 'complete' as const,
    root: stored[2],
    cause: null,
    detail: null,
    files: 1,
    size_bytes: 1,
    stored_bytes: 1,
    skipped: 0,
    created_at: at,
    ended_at: at,
  };
  await store.commit([{ query: store.sql.insertInto('snapshots').values(row) }]);
  return stored;
}

/** The same of a sandbox without a session. */
async function sandboxSnapshot(tenant: string, content: string): Promise<{ id: string; blobs: string[] }> {
  const stored = await storeFile(tenant, content);
  const sizes = { files: 1, size_bytes: 1, stored_bytes: 1, skipped: 0 };
  const id = newId('snapshot');
  const of = { id, tenant, sandbox_id: newId('sandbox'), created_at: new Date(nowMs).toISOString() };
  const row = { ...of, ...sizes, root: stored[2] };
  await store.commit([{ query: store.sql.insertInto('sandbox_snapshots').values(row) }]);
  return { id, blobs: stored };
}

/** Pack, segment and root. */
async function storeFile(tenant: string, content: string): Promise<[string, string, string]> {
  const pack = await blobs.put(tenant, Buffer.from(content));
  const parts = [{ blob: pack, offset: 0, length: content.length }];
  const file = { kind: 'file', path: 'home/a', mode: 0o644, mtime: '0', size: content.length } as const;
  const segment = await blobs.put(tenant, encodeSegment([{ ...file, hash: pack, parts }]));
  const segments = [{ first: 'home/a', hash: segment }];
  const of = await blobs.put(tenant, encodeRoot({ segments, files: 1, sizeBytes: content.length }));
  return [pack, segment, of];
}

const held = async (tenant: string, hashes: readonly string[]) =>
  (await Promise.all(hashes.map((hash) => blobs.has(tenant, hash)))).filter(Boolean).length;

test('what no snapshot leads to goes when it is old, and nothing else', async () => {
  const kept = await snapshot('a', 'ses_kept', 'kept');
  const erased = await snapshot('a', 'ses_erased', 'erased');
  const others = await snapshot('b', 'ses_other', 'erased');
  await store.commit([{ query: store.sql.deleteFrom('snapshots').where('session_id', '=', 'ses_erased') }]);
  assert.equal(await collector.collect(), 0, 'all of it is young');
  nowMs += 2 * HOUR_MS;
  assert.equal(await collector.collect(), 3);
  assert.equal(await held('a', kept), 3);
  assert.equal(await held('a', erased), 0);
  assert.equal(await held('b', others), 3, 'another tenant has its own');
});

test('what a snapshot of a sandbox leads to stays, until that is deleted', async () => {
  const { id, blobs: stored } = await sandboxSnapshot('d', 'of a sandbox');
  nowMs += 2 * HOUR_MS;
  assert.equal(await collector.collect(), 0);
  assert.equal(await held('d', stored), 3);
  await store.commit([{ query: store.sql.deleteFrom('sandbox_snapshots').where('id', '=', id) }]);
  // Of a tenant that has nothing else, nobody looks.
  const other = await sandboxSnapshot('d', 'another');
  nowMs += 2 * HOUR_MS;
  assert.equal(await collector.collect(), 3);
  assert.deepEqual([await held('d', stored), await held('d', other.blobs)], [0, 3]);
});

test('nothing goes while a snapshot cannot be read', async () => {
  const [, segment] = await snapshot('c', 'ses_c', 'broken');
  const loose = await blobs.put('c', Buffer.from('loose'));
  await blobs.delete('c', segment ?? '');
  nowMs += 2 * HOUR_MS;
  await assert.rejects(collector.collect(), { code: 'not_found' });
  assert.equal(await blobs.has('c', loose), true);
});
