/**
 * Forks: the same bytes at the same seqs as the parent's, then a log of its own (I2); whatever the parent did then or does
 * later, what the fork says of itself is true (I5).
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { OperationResult } from '@atoll/protocol';
import { asking, versatile } from '../agents.ts';
import { type Atoll, deploy, deployProgram, startAtoll, until } from '../atoll.ts';
import { assertKept, killAndRestart, readLog } from '../crash.ts';
import { random } from '../random.ts';
import { type RawEvent, readSse } from '../raw-sse.ts';

let atoll: Atoll;
before(async () => {
  atoll = await startAtoll({ args: ['--capacity', '6', '--driver', 'process'] });
  await deployProgram(atoll.client, 'versatile', versatile);
  await deploy(atoll.client, 'asking', asking);
});
after(() => atoll[Symbol.asyncDispose]());

type Session = OperationResult<'session.show'>['session'];

const create = async (agent = 'versatile', metadata = {}) =>
  (await atoll.client.call('session.create', { agent, metadata })).session.id;
const show = async (sessionId: string): Promise<Session> =>
  (await atoll.client.call('session.show', { sessionId })).session;
const fork = async (sessionId: string, at?: number | string): Promise<Session> =>
  (await atoll.client.call('session.fork', { sessionId, ...(at === undefined ? {} : { at }) })).session;
const say = (id: string, content: string) => Array.fromAsync(atoll.client.send(id, { content }));
const stateOf = async (sessionId: string, at?: number) =>
  (await atoll.client.call('session.state', { sessionId, ...(at === undefined ? {} : { at }) })).session;

/** Everything after a seq, as a reader gets it that comes back with `Last-Event-ID`. */
async function readAfter(id: string, lastEventId: number, upTo: number): Promise<RawEvent[]> {
  const seen: RawEvent[] = [];
  const onEvent = (event: RawEvent) => {
    if (event.seq !== undefined) seen.push(event);
    return event.seq !== upTo;
  };
  const path = `/api/sessions/${id}/events`;
  await readSse({
    url: atoll.url,
    key: atoll.key,
    path,
    headers: { 'last-event-id': String(lastEventId) },
    onEvent,
  });
  return seen;
}

async function readPages(sessionId: string, limit: number): Promise<unknown[]> {
  const all: unknown[] = [];
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const from = cursor === undefined ? {} : { cursor };
    const page = await atoll.client.call('session.events', { sessionId, limit, ...from });
    all.push(...page.events);
    cursor = page.nextCursor;
  }
  return all;
}

/** The parent's events up to `seq` are the fork's, byte for byte, and everything after is dense. */
async function assertShares(parentId: string, forkId: string, seq: number): Promise<RawEvent[]> {
  const [theirs, own] = [await readLog(atoll, parentId), await readLog(atoll, forkId)];
  assert.deepEqual(own.slice(0, seq), theirs.slice(0, seq));
  assertKept(own, []);
  return own;
}

/** The seq of its latest snapshot, when there is one. */
const snapshotOf = (sessionId: string) =>
  until(async () => {
    const { snapshots } = await atoll.client.call('session.snapshots.list', { sessionId });
    return snapshots.findLast(({ status }) => status === 'complete')?.seq;
  });

test('the same bytes and seqs, by page and by stream, wherever a reader comes back', async () => {
  const id = await create();
  for (const content of ['echo one', 'emit 400 300', 'echo two']) await say(id, content);
  const { lastSeq } = await show(id);
  const number = random(5);
  for (const seq of [1, 2, 200, lastSeq, 1 + Math.floor(number() * lastSeq)]) {
    const forked = await fork(id, seq);
    assert.deepEqual(forked.parent, { sessionId: id, seq });
    await say(forked.id, 'echo mine');
    const own = await assertShares(id, forked.id, seq);
    for (const after of [0, seq - 1, seq, seq + 1, Math.floor(number() * own.length)])
      assert.deepEqual(await readAfter(forked.id, after, own.length), own.slice(after));
    const pages = (await readPages(forked.id, 7)) as { seq: number; data: unknown; time: string }[];
    assert.deepEqual(pages, await readPages(forked.id, 1000));
    assert.deepEqual(pages.slice(0, seq), (await readPages(id, 1000)).slice(0, seq));
    assert.deepEqual(
      pages.map((event) => event.seq),
      own.map((event) => event.seq),
    );
    await atoll.client.call('session.end', { sessionId: forked.id });
  }
  assert.equal((await show(id)).lastSeq, lastSeq, 'the parent knows nothing of it');
  const { sessions } = await atoll.client.call('session.list', { parent: id });
  assert.equal(sessions.length, 5);
  await atoll.client.call('session.end', { sessionId: id });
});

test('a reader of a fork goes on live, and parent and fork go their own ways', async () => {
  const id = await create();
  await say(id, 'echo shared');
  const { lastSeq } = await show(id);
  const { id: forked } = await fork(id);
  const reading = readAfter(forked, lastSeq - 2, lastSeq + 8);
  await Promise.all([say(id, 'echo of the parent'), say(forked, 'echo of the fork')]);
  const [theirs, own] = [await readLog(atoll, id), await assertShares(id, forked, lastSeq)];
  assert.ok(!own.some(({ data }) => data.includes('of the parent')));
  assert.ok(!theirs.some(({ data }) => data.includes('of the fork')));
  assert.deepEqual(await reading, own.slice(lastSeq - 2, lastSeq + 8));
  for (const sessionId of [id, forked]) await atoll.client.call('session.end', { sessionId });
});

test('a fork is paused, says why, and what it is equals the fold of its log', async () => {
  const id = await create('versatile', { made: 'first' });
  await say(id, 'echo one');
  const before = await show(id);
  await atoll.client.call('session.metadata.update', { sessionId: id, made: 'later', more: 1 });
  await say(id, 'echo two');
  const early = await fork(id, before.lastSeq);
  assert.deepEqual([early.status, early.cause, early.turn, early.queuedTurns], ['paused', 'forked', null, 0]);
  assert.match(early.detail ?? '', new RegExp(`forked from ${id} after event ${before.lastSeq}`));
  assert.deepEqual([early.metadata, early.sandboxId, early.runnerId], [{ made: 'first' }, null, null]);
  assert.deepEqual([early.agent, early.agentVersion], [before.agent, before.agentVersion]);
  assert.deepEqual(early.usage, before.usage);
  const late = await fork(id);
  assert.deepEqual(late.metadata, { made: 'later', more: 1 });
  for (const { id: sessionId, lastSeq, status, cause, usage } of [early, late]) {
    const state = await stateOf(sessionId);
    assert.deepEqual(
      [state?.status, state?.cause, state?.usage, state?.lastSeq, state?.turn, state?.approvals],
      [status, cause, usage, lastSeq, null, []],
    );
    assert.deepEqual({ ...(await stateOf(sessionId, 4)), id }, await stateOf(id, 4));
  }
  await atoll.restart();
  assert.deepEqual(await show(early.id), early);
  for (const sessionId of [id, early.id, late.id]) await atoll.client.call('session.end', { sessionId });
});

test('a fork of a fork of a fork', async () => {
  const root = await create();
  await say(root, 'echo root');
  const first = await fork(root);
  await say(first.id, 'echo first');
  const second = await fork(first.id);
  await say(second.id, 'echo second');
  const rootSeq = first.parent?.seq ?? 0;
  await assertShares(first.id, second.id, second.parent?.seq ?? 0);
  for (const seq of [2, rootSeq, rootSeq + 1, second.lastSeq + 2]) {
    const third = await fork(second.id, seq);
    await say(third.id, 'echo third');
    await assertShares(second.id, third.id, seq);
    await atoll.client.call('session.end', { sessionId: third.id });
  }
  for (const sessionId of [root, first.id, second.id]) await atoll.client.call('session.end', { sessionId });
});

test('forked while a turn runs and another waits: both are over in the fork, and in it alone', async () => {
  const id = await create();
  await atoll.client.call('session.send', { sessionId: id, content: 'wait' });
  await until(async () => (await show(id)).lastSeq >= 5);
  await atoll.client.call('session.send', { sessionId: id, content: 'echo next' });
  const forked = await fork(id);
  const own = await assertShares(id, forked.id, forked.parent?.seq ?? 0);
  const ends = own.slice(forked.parent?.seq).map(({ event, data }) => ({ event, ...JSON.parse(data) }));
  assert.deepEqual(
    ends.map(({ event, status, cause }) => [event, status, cause]),
    [
      ['done', 'interrupted', 'forked'],
      ['done', 'interrupted', 'forked'],
      ['status', 'paused', 'forked'],
    ],
  );
  assert.ok(ends.slice(0, 2).every(({ sessionId }) => sessionId === forked.id));
  assert.deepEqual([(await show(id)).status, (await show(id)).queuedTurns], ['running', 1]);
  const [ready] = await say(forked.id, 'echo mine');
  assert.equal(ready?.event, 'ready');
  await atoll.client.call('session.interrupt', { sessionId: id });
  await until(async () => (await show(id)).status === 'idle');
  for (const sessionId of [id, forked.id]) await atoll.client.call('session.end', { sessionId });
});

test('what was asked when it was forked is asked of nobody in the fork', async () => {
  const id = await create('asking');
  const content = JSON.stringify({ ask: [{ tool: 'Bash', input: { command: 'make' } }] });
  await atoll.client.call('session.send', { sessionId: id, content });
  const { approvals } = await until(async () => {
    const listed = await atoll.client.call('approval.list', { sessionId: id });
    return listed.approvals.length > 0 && listed;
  });
  const forked = await fork(id);
  const own = await readLog(atoll, forked.id);
  const cancelled = JSON.parse(own[forked.parent?.seq ?? 0]?.data ?? '{}');
  assert.deepEqual(
    [cancelled.approvalId, cancelled.status, cancelled.decision, cancelled.cause],
    [approvals[0]?.id, 'resolved', 'cancelled', 'forked'],
  );
  assert.deepEqual((await stateOf(forked.id))?.approvals, []);
  assert.equal((await stateOf(id))?.approvals.length, 1);
  assert.deepEqual((await atoll.client.call('approval.list', { sessionId: forked.id })).approvals, []);
  const [open] = approvals;
  assert.ok(open);
  await atoll.client.call('approval.decide', { sessionId: id, approvalId: open.id, decision: 'allow' });
  await until(async () => (await show(id)).status === 'idle');
  for (const sessionId of [id, forked.id]) await atoll.client.call('session.end', { sessionId });
});

test('of a time; of a session that has ended; and what cannot be forked', async () => {
  const id = await create();
  await say(id, 'echo one');
  const then = (await atoll.client.call('session.state', { sessionId: id })).asOf;
  const { lastSeq } = await show(id);
  await say(id, 'echo two');
  const early = await fork(id, String(then));
  assert.deepEqual(early.parent, { sessionId: id, seq: lastSeq });
  const listed = async (at: string) =>
    (await atoll.client.call('state.show', { at })).sessions.some((session) => session.id === early.id);
  assert.deepEqual([await listed(String(then)), await listed('2999-01-01T00:00:00Z')], [false, true]);
  await atoll.client.call('session.end', { sessionId: id });
  const ended = await fork(id, '2999-01-01T00:00:00Z');
  assert.equal(ended.status, 'paused');
  assert.equal(ended.endedAt, null);
  assert.ok((await say(ended.id, 'echo three')).some(({ text }) => text.includes('three')));
  for (const at of [0, 10_000, '0', '2001-01-01T00:00:00Z'])
    await assert.rejects(fork(id, at), { code: 'invalid_cursor' });
  await assert.rejects(fork(id, 'yesterday'), { code: 'invalid_request' });
  await deployProgram(atoll.client, 'short-lived', versatile);
  const orphan = await create('short-lived');
  await atoll.client.call('session.end', { sessionId: orphan });
  await atoll.client.call('agent.delete', { name: 'short-lived' });
  await assert.rejects(fork(orphan), { code: 'not_found' });
  await atoll.client.call('session.end', { sessionId: ended.id });
});

test('a parent that is purged leaves its forks what they have', async () => {
  const id = await create();
  await say(id, 'emit 300 200');
  await say(id, 'echo later, and private');
  const whole = await readLog(atoll, id);
  const seq = 150;
  const forked = await fork(id, seq);
  const inner = await fork(forked.id, 40);
  await atoll.client.call('session.end', { sessionId: id, purge: true });
  await assert.rejects(show(id), { code: 'not_found' });
  await assert.rejects(fork(id, 3), { code: 'not_found' });
  const own = await readLog(atoll, forked.id);
  assert.deepEqual(own.slice(0, seq), whole.slice(0, seq));
  assert.deepEqual((await stateOf(forked.id, 100))?.status, 'running');
  await say(forked.id, 'echo on');
  assert.deepEqual((await show(forked.id)).parent, { sessionId: id, seq });
  await atoll.client.call('session.end', { sessionId: forked.id, purge: true });
  await atoll.restart();
  assert.deepEqual((await readLog(atoll, inner.id)).slice(0, 40), whole.slice(0, 40));
  await say(inner.id, 'echo the last');
  await atoll.client.call('session.end', { sessionId: inner.id, purge: true });
});

test('a fork has the files and the memory of its snapshot, and its parent keeps its own', async () => {
  const id = await create();
  const write = (sessionId: string, text: string) =>
    atoll.client.writeFile(sessionId, 'notes.txt', new TextEncoder().encode(text));
  const read = async (sessionId: string) =>
    new Response(await atoll.client.readFile(sessionId, 'notes.txt')).text();
  await write(id, 'early');
  await say(id, 'remember the ferry');
  const { lastSeq } = await show(id);
  // Answered when that snapshot is over, and nothing that comes now is in it.
  const snapshot = (await stateOf(id, lastSeq))?.snapshotSeq;
  await write(id, 'late');
  await say(id, 'remember the bridge');
  const forked = await fork(id, lastSeq);
  assert.ok(snapshot && snapshot <= lastSeq);
  assert.equal(forked.snapshotSeq, snapshot);
  const { snapshots } = await atoll.client.call('session.snapshots.list', { sessionId: forked.id });
  assert.deepEqual(
    snapshots.map(({ seq }) => seq),
    [snapshot],
  );
  // Its files outlive the parent's.
  await atoll.client.call('session.end', { sessionId: id, purge: true });
  const events = await say(forked.id, 'recall');
  assert.ok(events.some(({ text }) => text.includes('the ferry')));
  assert.equal(await read(forked.id), 'early');
  const again = await fork(forked.id);
  assert.ok((await say(again.id, 'recall')).some(({ text }) => text.includes('the ferry')));
  for (const sessionId of [forked.id, again.id]) await atoll.client.call('session.end', { sessionId });
});

test('a fork that had no message yet shows its files, keeps what is written there, and takes no place', async () => {
  const id = await create();
  await atoll.client.writeFile(id, 'notes.txt', new TextEncoder().encode('early'));
  await say(id, 'echo one');
  const forked = await fork(id);
  const read = async (path: string) => new Response(await atoll.client.readFile(forked.id, path)).text();
  const list = async () =>
    (await atoll.client.call('session.files.list', { sessionId: forked.id })).files.map(({ path }) => path);
  const looks = await Promise.all([list(), list(), read('notes.txt')]);
  assert.deepEqual(looks, [looks[1], looks[0], 'early']);
  assert.ok(looks[0].includes('agent.mjs') && looks[0].includes('notes.txt'), String(looks[0]));
  await atoll.client.writeFile(forked.id, 'mine.txt', new TextEncoder().encode('own'));
  const { status, sandboxId, lastSeq } = await show(forked.id);
  assert.deepEqual([status, sandboxId, lastSeq], ['paused', null, forked.lastSeq]);
  const kept = async () =>
    (await atoll.client.call('session.snapshots.list', { sessionId: forked.id })).snapshots;
  await until(async () => (await kept()).length === 2);
  await atoll.restart();
  assert.deepEqual([await read('notes.txt'), await read('mine.txt')], ['early', 'own']);
  await say(forked.id, 'echo two');
  assert.deepEqual([await read('notes.txt'), await read('mine.txt')], ['early', 'own']);
  // Of one that ended while they were being put back, nothing stays.
  const short = await fork(id);
  const looking = atoll.client
    .call('session.files.list', { sessionId: short.id })
    .catch((error) => error.code);
  await atoll.client.call('session.end', { sessionId: short.id });
  await looking;
  await until(async () => !existsSync(join(atoll.dataDir, 'runner', 'workspaces', short.id)));
  for (const sessionId of [id, forked.id]) await atoll.client.call('session.end', { sessionId });
});

test('before its first snapshot a fork has its agent’s folder', async () => {
  const id = await create();
  const { lastSeq } = await show(id);
  const forked = await fork(id, lastSeq);
  const { files } = await atoll.client.call('session.files.list', { sessionId: forked.id });
  assert.ok(files.some(({ path }) => path === 'agent.mjs'));
  for (const sessionId of [id, forked.id]) await atoll.client.call('session.end', { sessionId });
});

test('what is written as soon as a turn is done came after it, by the API or a command', async () => {
  const id = await create();
  for (let round = 0; round < 8; round++) {
    const events = await say(id, `echo ${round}`);
    const done = events.at(-1)?.seq ?? 0;
    if (round % 2 === 0) await atoll.client.writeFile(id, `late-${round}`, new TextEncoder().encode('x'));
    else await atoll.client.call('session.exec', { sessionId: id, command: `echo x > late-${round}` });
    const forked = await fork(id, done);
    assert.equal(forked.snapshotSeq, done);
    const { files } = await atoll.client.call('session.files.list', { sessionId: forked.id });
    const late = files.map(({ path }) => path).filter((path) => path.startsWith('late-'));
    assert.deepEqual(
      late,
      Array.from({ length: round }, (_, i) => `late-${i}`),
    );
    await atoll.client.call('session.end', { sessionId: forked.id });
  }
  await atoll.client.call('session.end', { sessionId: id });
});

test('kill -9 around forking: each fork is there as a whole, or not at all', async () => {
  const id = await create();
  await say(id, 'emit 50');
  await snapshotOf(id);
  const { lastSeq } = await show(id);
  for (const waitFor of [0, 3, 9]) {
    const answered: Session[] = [];
    const forks = Array.from({ length: 20 }, (_, n) =>
      fork(id, 1 + ((n * 7) % lastSeq)).then(
        (made) => void answered.push(made),
        () => undefined,
      ),
    );
    await until(async () => answered.length >= waitFor);
    await killAndRestart(atoll);
    await Promise.all(forks);
    const { sessions } = await atoll.client.call('session.list', { parent: id, limit: 1000 });
    for (const made of answered)
      assert.deepEqual(
        sessions.find((session) => session.id === made.id),
        made,
      );
    for (const session of sessions) {
      assert.deepEqual([session.status, session.cause], ['paused', 'forked']);
      await assertShares(id, session.id, session.parent?.seq ?? 0);
      assert.deepEqual((await stateOf(session.id))?.status, 'paused');
    }
    for (const { id: alive } of sessions.slice(0, 1)) await say(alive, 'echo alive');
    for (const { id: sessionId } of sessions)
      await atoll.client.call('session.end', { sessionId, purge: true });
  }
});
