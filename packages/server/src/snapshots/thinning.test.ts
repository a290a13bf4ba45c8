import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { firstIdOf } from '@atoll/protocol/ids';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite } from '../store/sqlite-database.ts';
import { createThinning, type ThinningOptions } from './thinning.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-thinning-'));
const store = createSqliteStore(await openSqlite({ path: join(root, 'atoll.db') }), await loadKysely());
after(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const HOUR_MS = 60 * 60_000;
const DAY_MS = 24 * HOUR_MS;
const start = Date.parse('2026-03-01T00:00:00Z');
let nowMs = start;

/** One taken so many hours after the start; failed where that is said. */
async function snapshot(sessionId: string, hour: number, failed = false): Promise<void> {
  const at = new Date(start + hour * HOUR_MS).toISOString();
  const row = {
    ...{
      id: `${firstIdOf('snapshot', start + hour * HOUR_MS)}${sessionId}`,
      tenant: 'a',
      session_id: sessionId,
    },
    ...{ epoch: 1, seq: hour, status: failed ? ('failed' as const) : ('complete' as const) },
    ...{ root: failed ? null : `root ${hour}`, cause: null, detail: null, files: 1 },
    ...{ size_bytes: 1, stored_bytes: 1, skipped: 0, created_at: at, ended_at: at },
  };
  await store.commit([{ query: store.sql.insertInto('snapshots').values(row) }]);
}

async function left(sessionId: string): Promise<number[]> {
  const query = store.sql
    .selectFrom('snapshots')
    .select('seq')
    .where('session_id', '=', sessionId)
    .orderBy('seq');
  return (await store.all(query)).map(({ seq }) => seq);
}

async function thin(options: Partial<ThinningOptions>): Promise<number> {
  const thinning = createThinning({
    store,
    now: () => nowMs,
    thinMs: undefined,
    keepMs: undefined,
    ...options,
  });
  let all = 0;
  for (let more = true; more; ) {
    const step = await thinning.step();
    all += step.done;
    more = step.more;
  }
  return all;
}

test('of old ones the last of each day stays, of very old ones none but the latest', async () => {
  for (const hour of [1, 5, 23, 25, 30, 49, 60, 71]) await snapshot('ses_a', hour);
  await snapshot('ses_a', 26, true);
  await snapshot('ses_old', 2);
  nowMs = start + 4 * DAY_MS;
  assert.equal(await thin({ thinMs: 2 * DAY_MS }), 4);
  assert.deepEqual(await left('ses_a'), [23, 30, 49, 60, 71], 'those of the last two days are all there');
  assert.equal(await thin({ thinMs: DAY_MS, keepMs: 3 * DAY_MS }), 3);
  assert.deepEqual(await left('ses_a'), [30, 71]);
  assert.equal(await thin({ keepMs: HOUR_MS }), 1);
  assert.deepEqual(await left('ses_a'), [71]);
  assert.deepEqual(await left('ses_old'), [2], 'its latest, however old');
});

test('one that failed last does not count as the latest', async () => {
  await snapshot('ses_f', 1);
  await snapshot('ses_f', 2, true);
  nowMs = start + 9 * DAY_MS;
  await thin({ thinMs: DAY_MS, keepMs: DAY_MS });
  assert.deepEqual(await left('ses_f'), [1, 2]);
});

test('the one that a fork began with stays', async () => {
  const row = {
    ...{ id: 'ses_fork', tenant: 'a', agent: 'a', agent_version: 1, status: 'idle' as const, cause: null },
    ...{ detail: null, epoch: 0, runner_id: null, sandbox_id: null, log_id: 'ses_fork', parent_id: 'ses_p' },
    ...{ parent_seq: 3, snapshot_seq: 3, settings: '{}', metadata: '{}', usage: '{}', binding: '{}' },
    ...{ created_at: '', updated_at: '', ended_at: null },
  };
  await store.commit([{ query: store.sql.insertInto('sessions').values(row) }]);
  for (const hour of [3, 4, 5]) await snapshot('ses_fork', hour);
  nowMs = start + 9 * DAY_MS;
  await thin({ keepMs: DAY_MS });
  assert.deepEqual(await left('ses_fork'), [3, 5]);
});

test('very many are looked at in steps, and again when there may be something new', async () => {
  for (let hour = 0; hour < 450; hour++) await snapshot('ses_many', hour);
  nowMs = start + 60 * DAY_MS;
  const thinning = createThinning({ store, now: () => nowMs, thinMs: DAY_MS, keepMs: undefined });
  assert.equal((await thinning.step()).more, true);
  while ((await thinning.step()).more);
  assert.equal((await left('ses_many')).length, Math.ceil(450 / 24));
  await snapshot('ses_many', 451);
  assert.deepEqual(await thinning.step(), { done: 0, more: false }, 'not before its time');
  nowMs += DAY_MS;
  assert.equal((await thinning.step()).done, 1);
});
