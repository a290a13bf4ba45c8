import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { newId } from '@atoll/protocol/ids';
import { operations } from '@atoll/protocol/operations';
import * as v from 'valibot';
import { access } from '../keys/access.ts';
import { createSqliteLog } from '../log/sqlite.ts';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite } from '../store/sqlite-database.ts';
import type { SessionRow } from '../store/tables.ts';
import {
  boundedUsage,
  type Consumer,
  countLostSandboxes,
  countSnapshot,
  countTurn,
  keepUsage,
  lastSign,
} from './counting.ts';
import { createUsage } from './usage.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-usage-'));
const database = await openSqlite({ path: join(root, 'atoll.db') });
const store = createSqliteStore(database, await loadKysely());
const log = createSqliteLog(database);
const usage = createUsage({ store });
after(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

type Asked = v.InferInput<(typeof operations)['usage.show']['params']>;
const params = operations['usage.show'].params;
const show = async (tenant: string, asked: Asked = {}) =>
  usage.show(access(tenant, 'client'), v.parse(params, asked));

async function session(tenant: string, agent = 'helper'): Promise<Consumer> {
  const id = newId('session');
  const createdAt = '2026-01-01T00:00:00.000Z';
  const row: SessionRow = {
    ...{ id, tenant, agent, agent_version: 1, status: 'ended', cause: null, detail: null, epoch: 0 },
    ...{ runner_id: null, sandbox_id: null, log_id: id, parent_id: null, parent_seq: null },
    ...{ snapshot_seq: null, settings: '{}', metadata: '{}', usage: '{}', binding: '{}' },
    ...{ created_at: createdAt, updated_at: createdAt, ended_at: createdAt },
  };
  await store.commit([
    { query: store.sql.insertInto('sessions').values(row) },
    ...log.create({ id, tenant, sessionId: id, epoch: 0, createdAt }),
  ]);
  return row;
}

const turn = (
  owner: Consumer,
  endedAt: string,
  told: Record<string, unknown> = { inputTokens: 10, costUsd: 0.5 },
) => store.commit(countTurn(owner, { usage: told, endedAt }));

async function sandbox(owner: Consumer, readyAt: string | null, endedAt: string | null): Promise<void> {
  const row = {
    ...{ id: newId('sandbox'), tenant: owner.tenant, session_id: owner.id, runner_id: 'run_1', epoch: 1 },
    ...{ status: 'ended' as const, cause: null, detail: null, counted: 0 as const },
    ...{ created_at: '2026-01-01T00:00:00.000Z', ready_at: readyAt, ended_at: endedAt },
  };
  await store.commit([{ query: store.sql.insertInto('sandboxes').values(row) }]);
}

test('turns are added up by day, agent and session', async () => {
  const [first, second] = [await session('sums', 'a'), await session('sums', 'b')];
  await turn(first, '2026-03-01T10:00:00.000Z');
  await turn(first, '2026-03-02T10:00:00.000Z', { inputTokens: 5, outputTokens: 7, turns: 3 });
  await turn(second, '2026-03-02T11:00:00.000Z');
  const byDay = await show('sums');
  assert.deepEqual(
    byDay.usage.map(({ day, turns, inputTokens, outputTokens, modelRequests }) => [
      ...[day, turns, inputTokens, outputTokens, modelRequests],
    ]),
    [
      ['2026-03-02', 2, 15, 7, 3],
      ['2026-03-01', 1, 10, 0, 0],
    ],
  );
  const byAgent = await show('sums', { by: 'agent' });
  assert.deepEqual(
    byAgent.usage.map(({ agent, turns, costUsd }) => [agent, turns, costUsd]),
    [
      ['a', 2, 0.5],
      ['b', 1, 0.5],
    ],
  );
  const bySession = await show('sums', { by: 'session', from: '2026-03-02', to: '2026-03-02' });
  assert.deepEqual(bySession.usage.map(({ sessionId }) => sessionId).sort(), [first.id, second.id].sort());
  for (const { totals } of [byDay, byAgent]) assert.deepEqual([totals.turns, totals.inputTokens], [3, 25]);
  assert.equal(bySession.totals.turns, 2);
  assert.equal((await show('sums', { agent: 'b' })).totals.turns, 1);
  assert.equal((await show('sums', { session: first.id, to: '2026-03-01' })).totals.turns, 1);
});

test('of a sandbox that a server left behind, the time until the next one started is not counted', async () => {
  const owner = await session('left');
  const running = { status: 'running' as const, ended_at: null };
  await store.commit([
    { query: store.sql.updateTable('sessions').set(running).where('id', '=', owner.id) },
    {
      query: store.sql.insertInto('log_chunks').values({
        ...{ log_id: owner.id, tenant: 'left', epoch: 0, first_seq: 1, last_seq: 1 },
        ...{ time: '2026-03-01T10:00:30.000Z', frames: new Uint8Array() },
      }),
    },
  ]);
  await sandbox(owner, '2026-03-01T10:00:00.000Z', null);
  const mine = store.sql.updateTable('sandboxes').where('session_id', '=', owner.id);
  await store.commit([{ query: mine.set({ status: 'ready' }) }]);
  for (let start = 0; start < 2; start++)
    await store.commit(countLostSandboxes(await lastSign(store), { but: [] }));
  const ended = { status: 'ended' as const, ended_at: '2026-03-02T10:00:00.000Z' };
  await store.commit([{ query: mine.set(ended) }]);
  await usage.countEnded();
  const { usage: days } = await show('left');
  assert.deepEqual(
    days.map((item) => [item.day, item.sandboxSeconds]),
    [['2026-03-01', 30]],
  );
  const over = { status: 'ended' as const, ended_at: ended.ended_at };
  await store.commit([{ query: store.sql.updateTable('sessions').set(over).where('id', '=', owner.id) }]);
});

test('the time of a sandbox is cut at midnight, and is the same before and after it is counted', async () => {
  const owner = await session('cut');
  await sandbox(owner, '2026-03-01T23:59:50.500Z', '2026-03-03T00:00:01.000Z');
  await sandbox(owner, null, '2026-03-01T12:00:00.000Z');
  const seconds = async () => (await show('cut')).usage.map((item) => [item.day, item.sandboxSeconds]);
  const expected = [
    ['2026-03-03', 1],
    ['2026-03-02', 86_400],
    ['2026-03-01', 9.5],
  ];
  assert.deepEqual(await seconds(), expected);
  await usage.countEnded();
  assert.deepEqual(await seconds(), expected);
  const left = store.sql
    .selectFrom('sandboxes')
    .select('id')
    .where('tenant', '=', 'cut')
    .where('counted', '=', 0);
  assert.deepEqual(await store.all(left), [], 'nothing of it is left to be counted');
  await usage.countEnded();
  assert.deepEqual(await seconds(), expected);
});

test('a sandbox that runs counts until now, and is not taken for one that ended', async () => {
  const owner = await session('runs');
  await sandbox(owner, new Date(Date.now() - 5_000).toISOString(), null);
  await usage.countEnded();
  const { sandboxSeconds } = (await show('runs')).totals;
  assert.ok(sandboxSeconds >= 5 && sandboxSeconds < 60, String(sandboxSeconds));
});

test('what an erased session used stays with its days and its agent', async () => {
  const [gone, kept] = [await session('erased'), await session('erased')];
  for (const owner of [gone, kept]) {
    await turn(owner, '2026-03-01T10:00:00.000Z');
    await sandbox(owner, '2026-03-01T10:00:00.000Z', '2026-03-01T10:00:03.000Z');
    const frames = [Buffer.alloc(100, 'x')];
    await log.append({ logId: owner.id, tenant: 'erased', epoch: 1, firstSeq: 1, lastSeq: 1, frames });
    await store.commit([
      countSnapshot({ sessionId: owner.id, storedBytes: 50, endedAt: '2026-03-01T10:00:00.000Z' }),
    ]);
  }
  const forget = store.sql.deleteFrom('sandboxes').where('session_id', '=', gone.id);
  await log.erase(gone.id, [...keepUsage(gone, '2026-03-01T12:00:00.000Z'), { query: forget }]);
  const { usage: items, totals } = await show('erased', { by: 'session' });
  assert.deepEqual(
    items.map(({ sessionId, agent, turns, sandboxSeconds, logBytes }) => [
      ...[sessionId, agent, turns, sandboxSeconds, logBytes],
    ]),
    [
      // What was written to a log counts when its turn ends.
      [kept.id, 'helper', 1, 3, 0],
      [null, 'helper', 1, 3, 100],
    ],
  );
  await turn(kept, '2026-03-01T13:00:00.000Z', {});
  assert.deepEqual((await show('erased', { session: kept.id })).totals.logBytes, 100);
  assert.deepEqual([totals.snapshotBytes, totals.costUsd], [100, 1]);
  assert.equal((await show('erased', { by: 'agent' })).totals.turns, 3);
});

test('pages have each item once, in order', async () => {
  for (const agent of ['a', 'b', 'c', 'd', 'e']) {
    const owner = await session('pages', agent);
    for (const day of [1, 2, 3]) await turn(owner, `2026-04-0${day}T00:00:00.000Z`);
  }
  for (const [by, count] of [
    ['day', 3],
    ['agent', 5],
    ['session', 5],
  ] as const) {
    const { usage: whole } = await show('pages', { by });
    const paged = [];
    let cursor: string | null | undefined;
    do {
      const page = await show('pages', { by, limit: 2, ...(cursor ? { cursor } : {}) });
      paged.push(...page.usage);
      assert.equal(page.totals.turns, 15, 'of everything, on each page');
      cursor = page.nextCursor;
    } while (cursor !== null);
    assert.equal(whole.length, count);
    assert.deepEqual(paged, whole);
  }
  await assert.rejects(show('pages', { by: 'session', cursor: 'ses_1' }), { code: 'invalid_cursor' });
});

test('a tenant sees its own (I12), an admin all', async () => {
  const [mine, theirs] = [await session('mine', 'same'), await session('theirs', 'same')];
  await turn(mine, '2020-01-01T00:00:00.000Z');
  await turn(theirs, '2020-01-01T00:00:00.000Z');
  await sandbox(theirs, '2020-01-01T00:00:00.000Z', '2020-01-01T00:00:09.000Z');
  const { usage: own, totals } = await show('mine', { by: 'agent' });
  assert.deepEqual(
    own.map(({ tenant, turns }) => [tenant, turns]),
    [['mine', 1]],
  );
  assert.deepEqual([totals.turns, totals.sandboxSeconds], [1, 0]);
  assert.deepEqual((await show('mine', { session: theirs.id })).usage, []);
  const day = { from: '2020-01-01', to: '2020-01-01' } as const;
  const all = await usage.show(access('default', 'admin'), v.parse(params, { by: 'agent', ...day }));
  assert.deepEqual(
    all.usage.map(({ tenant, agent }) => [tenant, agent]),
    [
      ['mine', 'same'],
      ['theirs', 'same'],
    ],
  );
});

test('numbers that nobody can have used do not count (I11)', async () => {
  const told = {
    inputTokens: -5,
    outputTokens: 1e300,
    cacheReadTokens: '7',
    costUsd: Number.NaN,
    turns: 2.4,
  };
  const { inputTokens, outputTokens, cacheReadTokens, costUsd, modelRequests } = boundedUsage(told);
  assert.deepEqual([inputTokens, cacheReadTokens, costUsd, modelRequests], [0, 0, 0, 2]);
  assert.equal(outputTokens, 1e9);
});

test('days are days', () => {
  for (const from of ['2026-02-30', '2026-1-1', '2026-01-01T00:00:00Z', 'yesterday'])
    assert.equal(v.safeParse(params, { from }).success, false, from);
});
