import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import { createSqliteLog } from '../log/sqlite.ts';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite, type SqliteDatabase } from '../store/sqlite-database.ts';
import type { Store } from '../store/store.ts';
import type { LiveSession } from './live-session.ts';
import { createLiveSessions } from './live-sessions.ts';
import { createSessionFiles } from './session-files.ts';

type Options = Parameters<typeof createSessionFiles>[0];

let directory: string;
let database: SqliteDatabase;
let store: Store;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'atoll-files-'));
  database = await openSqlite({ path: join(directory, 'atoll.db') });
  store = createSqliteStore(database, await loadKysely());
});
after(async () => {
  await database.close();
  await rm(directory, { recursive: true });
});

async function pausedOn(runner_id: string): Promise<LiveSession> {
  const id = newId('session');
  const created_at = '2026-01-01T00:00:00.000Z';
  const owner = { tenant: 'a', agent: 'x', agent_version: 1, log_id: id };
  const nothing = {
    cause: null,
    detail: null,
    sandbox_id: null,
    settings: '{}',
    metadata: '{}',
    usage: '{}',
  };
  const times = { created_at, updated_at: created_at, ended_at: null };
  const row = { id, ...owner, ...nothing, ...times, status: 'paused' as const, epoch: 1, runner_id };
  const log = createSqliteLog(database);
  await store.commit([
    { query: store.sql.insertInto('sessions').values({ ...row, binding: '{}' }) },
    ...log.create({ id, tenant: 'a', sessionId: id, epoch: 1, createdAt: created_at }),
  ]);
  const fails = () => assert.fail('nothing breaks here');
  const live = createLiveSessions({
    store,
    log,
    now: Date.now,
    recover: async () => fails(),
    onBroken: fails,
  });
  return live.load(id);
}

/** Only what these tests come to is there. */
function filesWith(options: Record<string, unknown>) {
  const files = { write: async () => ({ sizeBytes: 1, created: true }), remove: async () => undefined };
  const link = { files, restore: async () => undefined };
  const here = { id: 'here', link };
  return createSessionFiles({
    store,
    runners: { find: (id: string) => (id === 'here' ? here : undefined) },
    scheduler: { placeSoon: async () => ({ runner: here, settled: () => undefined }) },
    snapshots: { nearest: async () => ({ id: '', sessionId: '', seq: 0, root: 'root', epoch: 1 }) },
    snapshotting: { afterWrite: () => assert.fail('nothing is written') },
    sandboxes: { remove: async () => undefined },
    settingsOf: async () => ({ demands: {} }),
    linkOf: () => link,
    wake: () => assert.fail('nothing is woken'),
    isStopping: () => false,
    now: Date.now,
    ...options,
  } as unknown as Options);
}

const busy = new AtollError('illegal_transition', 'a sandbox works on this workspace');

test('while its last sandbox is still there, files are waited for, and the server goes on', async () => {
  let looks = 0;
  const restore = async () => {
    looks++;
    if (looks < 3) throw busy;
  };
  const link = { files: 'the files', restore };
  const files = filesWith({ linkOf: () => link });
  assert.equal(await files.toRead(await pausedOn('here')), 'the files');
  assert.equal(looks, 3);
});

test('a server that stops waits for no sandbox', async () => {
  let stopping = false;
  const restore = async () => {
    stopping = true;
    throw busy;
  };
  const files = filesWith({ linkOf: () => ({ restore }), isStopping: () => stopping });
  await assert.rejects(files.toRead(await pausedOn('here')), { code: 'shutting_down' });
});

test('of a session whose runner is gone, they are put back on another one', async () => {
  const session = await pausedOn('gone');
  await filesWith({}).toRead(session);
  assert.equal(session.runnerId, 'here');
  const query = store.sql.selectFrom('sessions').select('runner_id').where('id', '=', session.id);
  assert.equal((await store.first(query))?.runner_id, 'here');
});
test('what is written to a paused session is kept in a snapshot, and is a use of it', async () => {
  const session = await pausedOn('here');
  const kept: LiveSession[] = [];
  const afterWrite = (of: LiveSession) => void kept.push(of);
  const files = await filesWith({ snapshotting: { afterWrite } }).toWrite(session);
  const where = { workspaceId: session.id, path: 'a' };
  await files.write({ ...where, content: (async function* () {})() });
  await files.remove(where);
  assert.deepEqual(kept, [session, session]);
  const query = store.sql.selectFrom('sessions').select('updated_at').where('id', '=', session.id);
  const { updated_at: usedAt } = (await store.first(query)) ?? {};
  assert.ok(usedAt !== undefined && usedAt > '2026-01-01T00:00:00.000Z');
});
