/** What is on disk of a session that began with a sandbox from the pool: all of it, by one commit, or nothing. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Agents } from '../agents/agents.ts';
import { access } from '../keys/access.ts';
import { eventsOf } from '../log/frames.ts';
import type { Log, NewChunk } from '../log/log.ts';
import { createSqliteLog } from '../log/sqlite.ts';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite } from '../store/sqlite-database.ts';
import type { Store } from '../store/store.ts';
import { type Create, createCreating } from './creating.ts';
import { createLifecycle } from './lifecycle.ts';
import { createLiveSessions, type LiveSessions } from './live-sessions.ts';
import { createSessionSandboxes, type WarmSandbox } from './sandboxes.ts';
import type { WarmPool } from './warm-pool.ts';

const client = access('t', 'client');
const unused = () => assert.fail('nothing is made anew');

let directory: string;
let store: Store;
let log: Log;
let live: LiveSessions;
let create: Create;
let offered: WarmSandbox;
const chunks: NewChunk[] = [];
const discarded: string[] = [];
const sandboxOf = (n: number, of = n) => ({
  sandboxId: `sbx_${of}`,
  sessionId: `ses_${String(n).padStart(26, '0')}`,
  runnerId: 'run',
});

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'atoll-creating-'));
  const database = await openSqlite({ path: join(directory, 'atoll.db') });
  store = createSqliteStore(database, await loadKysely());
  const written = createSqliteLog(database);
  log = {
    ...written,
    append(chunk) {
      chunks.push(chunk);
      return written.append(chunk);
    },
  };
  const now = Date.now;
  live = createLiveSessions({ store, log, now, recover: async () => unused(), onBroken: () => undefined });
  const sandboxes = createSessionSandboxes({
    store,
    now,
    runners: {} as Parameters<typeof createSessionSandboxes>[0]['runners'],
    scheduler: { placeSoon: async () => unused() },
    snapshots: {} as Parameters<typeof createSessionSandboxes>[0]['snapshots'],
    makeRoom: async () => unused(),
    busy: unused,
  });
  const lifecycle = createLifecycle({ sandboxes } as unknown as Parameters<typeof createLifecycle>[0]);
  const settings = { executor: { kind: 'program', command: ['x'] }, limits: {} };
  const agents = { version: async () => ({ version: 3, manifestHash: 'h', settings }) } as unknown as Agents;
  const warm = {
    claim: async () => offered,
    discard: async ({ sandboxId }: WarmSandbox) => void discarded.push(sandboxId),
  } as unknown as WarmPool;
  create = createCreating({ store, log, agents, live, warm, lifecycle, now });
});
after(async () => {
  await store.close();
  await rm(directory, { recursive: true });
});

test('one commit makes the session, its log with both events, and its sandbox', async () => {
  offered = sandboxOf(1);
  const { sessionId, sandboxId } = offered;
  const session = await create(client, { agent: 'a', metadata: { mine: 1 }, model: 'm' }, 't');
  assert.deepEqual(
    [session.id, session.status, session.sandboxId, session.runnerId, session.agentVersion],
    [sessionId, 'idle', sandboxId, 'run', 3],
  );
  assert.equal(chunks.length, 1);
  const [chunk] = await log.read({ logId: sessionId, after: 0, maxBytes: 1e6 });
  assert.ok(chunk);
  const events = [...eventsOf(chunk)].map(({ data }) => JSON.parse(Buffer.from(data).toString()));
  assert.deepEqual(events, [{ status: 'starting' }, { status: 'idle', sandboxId }]);
  const row = await store.first(store.sql.selectFrom('sessions').selectAll().where('id', '=', sessionId));
  assert.deepEqual(
    [row?.status, row?.epoch, row?.runner_id, row?.sandbox_id, row?.settings, row?.metadata],
    ['idle', 1, 'run', sandboxId, '{"model":"m"}', '{"mine":1}'],
  );
  const held = store.sql.selectFrom('sandboxes').selectAll().where('id', '=', sandboxId);
  const { status, epoch, session_id, ready_at, ended_at } = (await store.first(held)) ?? {};
  assert.deepEqual([status, epoch, session_id, ended_at], ['ready', 1, sessionId, null]);
  assert.equal(typeof ready_at, 'string');
  assert.deepEqual(discarded, []);
});

test('when the commit fails nothing is there, and the sandbox is ended', async () => {
  offered = sandboxOf(2, 1);
  const { sessionId } = offered;
  await assert.rejects(create(client, { agent: 'a' }, 't'), { code: 'storage_failed' });
  assert.deepEqual(discarded, ['sbx_1']);
  assert.equal(await log.head(sessionId), undefined);
  await assert.rejects(live.get(client, sessionId), { code: 'not_found' });
});
