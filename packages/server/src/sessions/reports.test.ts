import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { AccessRecord } from '@atoll/protocol/schemas/access';
import { access } from '../keys/access.ts';
import { eventsOf } from '../log/frames.ts';
import { createSqliteLog } from '../log/sqlite.ts';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite, type SqliteDatabase } from '../store/sqlite-database.ts';
import type { SessionRow } from '../store/tables.ts';
import { createLiveSessions, type LiveSessions } from './live-sessions.ts';
import { createReports, type Reports } from './reports.ts';

const sessionId = `ses_${'0'.repeat(26)}`;
const row: SessionRow = {
  id: sessionId,
  tenant: 'a',
  agent: 'x',
  agent_version: 1,
  status: 'ended',
  cause: 'ended',
  detail: null,
  epoch: 3,
  runner_id: null,
  sandbox_id: null,
  parent_id: null,
  parent_seq: null,
  snapshot_seq: null,
  log_id: sessionId,
  settings: '{}',
  metadata: '{}',
  usage: '{}',
  binding: '{}',
  created_at: '2026-01-01T00:00:00.000Z',
  updated_at: '2026-01-01T00:00:00.000Z',
  ended_at: '2026-01-01T00:00:00.000Z',
};
const record: AccessRecord = {
  time: '2026-01-01T00:00:00.000Z',
  via: 'egress',
  method: 'CONNECT',
  host: 'one.example',
  port: 443,
  decision: 'allowed',
  sentBytes: 1,
  receivedBytes: 2,
  durationMs: 3,
};
const runner = access('default', 'admin');

let directory: string;
let database: SqliteDatabase;
let live: LiveSessions;
let reports: Reports;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'atoll-reports-'));
  database = await openSqlite({ path: join(directory, 'atoll.db') });
  const store = createSqliteStore(database, await loadKysely());
  const log = createSqliteLog(database);
  const newLog = log.create({ ...row, sessionId, createdAt: row.created_at });
  await store.commit([{ query: store.sql.insertInto('sessions').values(row) }, ...newLog]);
  live = createLiveSessions({
    store,
    log,
    now: Date.now,
    recover: async () => assert.fail('it was not at work'),
    onBroken: () => assert.fail('every record was written'),
  });
  reports = createReports(live);
});
after(async () => {
  await database.close();
  await rm(directory, { recursive: true });
});

async function dataAfter(seq: number): Promise<unknown[]> {
  const session = await live.find(runner, sessionId);
  const chunks = await session.log.read(seq);
  const events = chunks.flatMap((chunk) => [...eventsOf(chunk)]);
  assert.ok(events.every(({ event }) => event === 'report'));
  return events.map(({ data }) => JSON.parse(Buffer.from(data).toString()) as unknown);
}

test('what a gateway did is in the log, also when the session is over by then', async () => {
  await reports.addAccess(runner, { sessionId, epoch: 3, records: [record, record], dropped: 7 });
  const seen = { event_type: 'access', ...record };
  assert.deepEqual(await dataAfter(0), [seen, seen, { event_type: 'access_dropped', dropped: 7 }]);
});

test('an older assignment, another tenant, or a session that is not there records nothing', async () => {
  const { lastSeq } = (await live.find(runner, sessionId)).log;
  const report = { sessionId, epoch: 3, records: [record], dropped: 0 };
  await assert.rejects(reports.addAccess(runner, { ...report, epoch: 2 }), { code: 'stale_epoch' });
  await assert.rejects(reports.addAccess(access('b', 'runner'), report), { code: 'not_found' });
  await assert.rejects(reports.addAccess(runner, { ...report, sessionId: `ses_${'1'.repeat(26)}` }), {
    code: 'not_found',
  });
  assert.deepEqual(await dataAfter(lastSeq), []);
});
