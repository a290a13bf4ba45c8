import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { access } from '../keys/access.ts';
import { createSqliteLog } from '../log/sqlite.ts';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite, type SqliteDatabase } from '../store/sqlite-database.ts';
import type { Store } from '../store/store.ts';
import type { SessionRow } from '../store/tables.ts';
import { createLiveSessions } from './live-sessions.ts';

let directory: string;
let database: SqliteDatabase;
let store: Store;
let nowMs = 1_000_000;
const id = `ses_${'0'.repeat(26)}`;
const row: SessionRow = {
  id,
  tenant: 'a',
  agent: 'x',
  agent_version: 1,
  status: 'paused',
  cause: 'idle',
  detail: null,
  epoch: 1,
  runner_id: null,
  sandbox_id: null,
  parent_id: null,
  parent_seq: null,
  snapshot_seq: null,
  log_id: id,
  settings: '{}',
  metadata: '{}',
  usage: '{"turns":2}',
  binding: '{"executorSessionId":"abc"}',
  created_at: '2026-01-01T00:00:00.000Z',
  updated_at: '2026-01-01T00:00:00.000Z',
  ended_at: null,
};

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'atoll-live-'));
  database = await openSqlite({ path: join(directory, 'atoll.db') });
  store = createSqliteStore(database, await loadKysely());
  const log = createSqliteLog(database).create({
    id,
    tenant: 'a',
    sessionId: id,
    epoch: 1,
    createdAt: row.created_at,
  });
  await store.commit([{ query: store.sql.insertInto('sessions').values(row) }, ...log]);
});
after(async () => {
  await database.close();
  await rm(directory, { recursive: true });
});

const create = () =>
  createLiveSessions({
    store,
    log: createSqliteLog(database),
    now: () => nowMs,
    recover: async () => undefined,
    onBroken: () => assert.fail('nothing breaks here'),
  });

test('everybody who asks at once gets the same session, as its row says', async () => {
  const live = create();
  const [first, second] = await Promise.all([live.load(id), live.get(access('a', 'client'), id)]);
  assert.equal(first, second);
  const { status, cause, usage, executorSessionId } = first.state;
  assert.deepEqual(
    { status, cause, usage, executorSessionId },
    { status: 'paused', cause: 'idle', usage: { turns: 2 }, executorSessionId: 'abc' },
  );
});

test('another tenant finds nothing, an admin does', async () => {
  const live = create();
  await assert.rejects(live.get(access('b', 'client'), id), { code: 'not_found' });
  assert.equal((await live.get(access('b', 'admin'), id)).id, id);
});

test('a session that somebody was just handed is not forgotten under them', async () => {
  const live = create();
  const session = await live.load(id);
  live.forgetQuiet();
  assert.equal(live.known(id), session);
  nowMs += 61_000;
  live.forgetQuiet();
  assert.equal(live.known(id), undefined);
});

test('one that a crash left at work is recovered before anybody gets it', async () => {
  await store.commit([
    { query: store.sql.updateTable('sessions').set({ status: 'running' }).where('id', '=', id) },
  ]);
  const recovered: string[] = [];
  const live = createLiveSessions({
    store,
    log: createSqliteLog(database),
    now: () => nowMs,
    recover: async (session) => void recovered.push(session.status),
    onBroken: () => assert.fail('nothing breaks here'),
  });
  await Promise.all([live.load(id), live.load(id)]);
  assert.deepEqual(recovered, ['running']);
});
