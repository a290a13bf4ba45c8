import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { newId } from '@atoll/protocol/ids';
import { createDirectoryBlobStore } from '../blob-store/directory.ts';
import { createSqliteLog } from '../log/sqlite.ts';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite, type SqliteDatabase } from '../store/sqlite-database.ts';
import type { Store } from '../store/store.ts';
import type { SnapshotRow } from '../store/tables.ts';
import { createSnapshots, type Snapshots } from './snapshots.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-snapshots-'));
const time = '2026-01-01T00:00:00.000Z';
let database: SqliteDatabase;
let store: Store;
let snapshots: Snapshots;

before(async () => {
  database = await openSqlite({ path: join(root, 'atoll.db') });
  store = createSqliteStore(database, await loadKysely());
  const blobs = createDirectoryBlobStore(join(root, 'snapshots'));
  snapshots = createSnapshots({ store, blobs, now: () => Date.parse(time) });
});
after(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

async function write(sessionId: string, seq: number, fields: Partial<SnapshotRow> = {}): Promise<string> {
  const id = newId('snapshot');
  const row: SnapshotRow = {
    id,
    tenant: 'a',
    session_id: sessionId,
    epoch: 3,
    seq,
    status: 'complete',
    root: `root of ${sessionId} at ${seq}`,
    cause: null,
    detail: null,
    files: 1,
    size_bytes: 2,
    stored_bytes: 2,
    skipped: 0,
    created_at: time,
    ended_at: time,
    ...fields,
  };
  await store.commit([{ query: store.sql.insertInto('snapshots').values(row) }]);
  return id;
}

/** A session, forked from `parent` where that is given. */
async function session(id: string, parent?: { logId: string; seq: number }): Promise<void> {
  const log = createSqliteLog(database).create({
    id,
    tenant: 'a',
    sessionId: id,
    epoch: 0,
    createdAt: time,
    ...(parent && { parent }),
  });
  const row = {
    id,
    tenant: 'a',
    agent: 'agent',
    agent_version: 1,
    status: 'idle' as const,
    cause: null,
    detail: null,
    epoch: 0,
    runner_id: null,
    sandbox_id: null,
    log_id: id,
    settings: '{}',
    metadata: '{}',
    usage: '{}',
    binding: '{}',
    created_at: time,
    updated_at: time,
    ended_at: null,
  };
  const longer = store.sql.updateTable('logs').set({ last_seq: 10 }).where('id', '=', id);
  await store.commit([{ query: store.sql.insertInto('sessions').values(row) }, ...log, { query: longer }]);
}

test('the nearest snapshot is the latest complete one at or before a seq', async () => {
  await write('ses_near', 4);
  await write('ses_near', 9);
  await write('ses_near', 12, { status: 'failed', root: null, cause: 'storage_failed' });
  assert.equal(await snapshots.nearest('ses_near', 3), undefined);
  assert.equal((await snapshots.nearest('ses_near', 4))?.seq, 4);
  assert.equal((await snapshots.nearest('ses_near', 8))?.seq, 4);
  assert.equal((await snapshots.nearest('ses_near', 100))?.root, 'root of ses_near at 9');
});

test('of a time, only those that had begun by then', async () => {
  await write('ses_timed', 4);
  await write('ses_timed', 9, { created_at: '2026-01-01T00:00:05.000Z' });
  const at = async (begunBy: string) => (await snapshots.nearest('ses_timed', 10, begunBy))?.seq;
  assert.equal(await at('2025-12-31T23:59:59.999Z'), undefined);
  assert.deepEqual([await at(time), await at('2026-01-01T00:00:05.000Z')], [4, 9]);
});

test('of two at one seq the later counts', async () => {
  await write('ses_twice', 4);
  await write('ses_twice', 4, { root: 'later' });
  assert.equal((await snapshots.nearest('ses_twice', 4))?.root, 'later');
});

test('a fork has its parents’ snapshots up to where it left them', async () => {
  await session('ses_parent');
  for (const seq of [4, 9]) await write('ses_parent', seq);
  await session('ses_fork', { logId: 'ses_parent', seq: 6 });
  assert.deepEqual(
    { ...(await snapshots.nearest('ses_fork', 100)), id: '' },
    { id: '', sessionId: 'ses_parent', seq: 4, root: 'root of ses_parent at 4', epoch: 3 },
  );
  await write('ses_fork', 8);
  assert.equal((await snapshots.nearest('ses_fork', 100))?.sessionId, 'ses_fork');
  assert.equal((await snapshots.nearest('ses_fork', 7))?.sessionId, 'ses_parent');
  await session('ses_forks_fork', { logId: 'ses_fork', seq: 7 });
  assert.equal((await snapshots.nearest('ses_forks_fork', 7))?.sessionId, 'ses_parent');
});

test('what a session inherits outlives its parent', async () => {
  await write('ses_gone', 4);
  const from = await snapshots.nearest('ses_gone', 4);
  assert.ok(from);
  await store.commit([snapshots.inherit(from, { sessionId: 'ses_heir', tenant: 'a' })]);
  await store.commit([snapshots.forget('ses_gone')]);
  const heirs = await snapshots.nearest('ses_heir', 4);
  assert.deepEqual({ ...heirs, id: '' }, { ...from, id: '', sessionId: 'ses_heir', epoch: 0 });
  const late = store.commit([snapshots.inherit(from, { sessionId: 'ses_late', tenant: 'a' })]);
  await assert.rejects(late, { code: 'not_found' });
});

test('what a fork had before it was one is refused once its parent was erased, not made up', async () => {
  await session('ses_erased');
  for (const seq of [4, 6]) await write('ses_erased', seq);
  await session('ses_orphan', { logId: 'ses_erased', seq: 8 });
  const inherited = store.sql.updateTable('sessions').set({ snapshot_seq: 6 }).where('id', '=', 'ses_orphan');
  await store.commit([{ query: inherited }]);
  await write('ses_orphan', 6);
  assert.equal((await snapshots.nearest('ses_orphan', 5))?.seq, 4);
  const gone = store.sql.deleteFrom('sessions').where('id', '=', 'ses_erased');
  await store.commit([snapshots.forget('ses_erased'), { query: gone }]);
  const refused = { code: 'snapshot_failed', message: /ses_erased, which was erased/ };
  await assert.rejects(snapshots.nearest('ses_orphan', 5), refused);
  assert.equal((await snapshots.nearest('ses_orphan', 8))?.seq, 6);
  await session('ses_early', { logId: 'ses_erased', seq: 3 });
  assert.equal(await snapshots.nearest('ses_early', 3), undefined, 'there was none by then');
});

test('nobody inherits from another tenant (I12)', async () => {
  await write('ses_walled', 4);
  const from = await snapshots.nearest('ses_walled', 4);
  assert.ok(from);
  const theft = store.commit([snapshots.inherit(from, { sessionId: 'ses_thief', tenant: 'b' })]);
  await assert.rejects(theft, { code: 'not_found' });
});
