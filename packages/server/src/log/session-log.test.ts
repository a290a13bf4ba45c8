import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite } from '../store/sqlite-database.ts';
import type { Step } from '../store/store.ts';
import { eventsOf } from './frames.ts';
import { messagesOf } from './log.contract.ts';
import { createSessionLog, type SessionLog } from './session-log.ts';
import { createSqliteLog } from './sqlite.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-log-'));
const opening = openSqlite({ path: join(root, 'sessions.db') });
const store = createSqliteStore(await opening, await loadKysely());
const log = createSqliteLog(await opening);
after(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const event = { event: 'status', data: {} };
const refused: Step = {
  query: { sql: 'UPDATE logs SET line = line WHERE false', parameters: [] },
  mustChange: { code: 'stale_epoch' },
};

/** A log whose commits begin, and then wait at a gate before they reach the disk. */
async function open(name: string) {
  const gate = Promise.withResolvers<void>();
  const head = { lastSeq: 0, line: 0, epoch: 1 };
  await store.commit(
    log.create({ id: name, tenant: 'a', sessionId: name, epoch: 1, createdAt: '2026-01-01T00:00:00Z' }),
  );
  let begun = 0;
  const held = {
    ...log,
    async append(chunk: Parameters<typeof log.append>[0]) {
      begun++;
      await gate.promise;
      return log.append(chunk);
    },
  };
  const session = createSessionLog({ log: held, logId: name, tenant: 'a', epoch: () => 1, head });
  return { session, release: gate.resolve, begun: () => begun };
}

async function seqsOf(session: SessionLog, signal: AbortSignal, until?: number): Promise<number[]> {
  const seqs: number[] = [];
  for await (const { frames } of session.follow({ after: 0, signal, until: () => until }))
    for (const { seq } of eventsOf({ frames })) seqs.push(seq);
  return seqs;
}

test('readers that share a signal all end with it, and so do those that wait for a condition', async () => {
  const { session, release } = await open('shared');
  release();
  const abort = new AbortController();
  const short = seqsOf(session, abort.signal, 1);
  const others = [seqsOf(session, abort.signal), session.until(() => false, abort.signal)];
  await session.append([event]);
  assert.deepEqual(await short, [1]);
  abort.abort();
  assert.deepEqual(await Promise.all(others), [[1], undefined]);
  assert.equal(session.readers, 0);
});

test('when a commit fails, the one that is under way behind it and all that waits are refused too', async () => {
  const { session, release, begun } = await open('fails');
  const reader = seqsOf(session, new AbortController().signal);
  const first = session.append([event], { also: [refused] });
  await setImmediate();
  const second = session.append([event]);
  await setImmediate();
  const big = messagesOf([`{"text":"${'x'.repeat(3 * 1024 * 1024)}"}`]);
  const third = session.appendMessages({ line: 1, messages: big });
  const ready = session.ready();
  assert.equal(begun(), 2);
  release();
  const outcomes = await Promise.allSettled([first, second, third, reader, session.append([event])]);
  assert.deepEqual(
    outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason.code),
    Array.from({ length: 5 }, () => 'stale_epoch'),
  );
  await ready;
  await session.ready();
  assert.equal(session.durableSeq, 0);
  assert.equal((await log.head('fails'))?.lastSeq, 0);
});

test('what changes state is committed beside a commit under way, also with messages behind it', async () => {
  const { session, release, begun } = await open('beside');
  const message = (line: number) => session.appendMessages({ line, messages: messagesOf(['{}']) }, {});
  const first = message(1);
  await setImmediate();
  const behind = [message(2)];
  await setImmediate();
  assert.equal(begun(), 1, 'messages wait');
  behind.push(session.append([event], {}), message(3));
  await setImmediate();
  assert.equal(begun(), 2);
  behind.push(session.append([event], {}));
  await setImmediate();
  assert.equal(begun(), 2, 'and no third beside those');
  release();
  await Promise.all([first, ...behind]);
  assert.equal(session.durableSeq, 5);
});

test('closed with a commit under way: that one counts, later ones do not, readers get the reason', async () => {
  const { session, release } = await open('closed');
  const reader = seqsOf(session, new AbortController().signal);
  const first = session.append([event]);
  await setImmediate();
  session.close(new Error('enough'));
  await assert.rejects(session.append([event]), /enough/);
  await assert.rejects(reader, /enough/);
  release();
  await first;
  assert.equal(session.durableSeq, 1);
  assert.deepEqual(await seqsOf(session, new AbortController().signal, 1), [1]);
});

test('whoever still reads a log that was closed and erased gets the reason', async () => {
  const { session, release } = await open('erased');
  release();
  await session.append([event]);
  const reason = new Error('erased');
  session.close(reason);
  await log.erase('erased', []);
  await assert.rejects(seqsOf(session, new AbortController().signal), reason);
});

test('the line of whatever a runner said is on disk with it, and lines begin anew with an assignment', async () => {
  const { session, release } = await open('lines');
  release();
  await session.appendMessages({ line: 2, messages: messagesOf(['{"n":1}', '{"n":2}']) });
  await session.append([event], { line: 3 });
  await session.append([event]);
  assert.equal(session.line, 3);
  const head = await log.head('lines');
  assert.deepEqual({ ...head }, { lastSeq: 4, line: 3, epoch: 1 });
  const next = createSessionLog({
    log,
    logId: 'lines',
    tenant: 'a',
    epoch: () => 2,
    head: head ?? assert.fail(),
  });
  assert.equal(next.line, 0);
  await next.append([event]);
  assert.equal((await log.head('lines'))?.line, 0);
  await assert.rejects(session.appendMessages({ line: 3, messages: messagesOf(['{}']) }), {
    code: 'internal',
  });
});
