/**
 * What an agent asks of people, whoever its executor is: asked, decided once, from anywhere; or ended with the turn; or
 * open beyond the death of the executor, for the same call when it is made again. The state is the fold of the log (I5).
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createClient } from '@atoll/client';
import { newId } from '@atoll/protocol';
import { fold, initialState, type StateEvent } from '@atoll/server';
import fc from 'fast-check';
import { asking } from '../agents.ts';
import { type Atoll, deploy, startAtoll, until } from '../atoll.ts';
import { killAndRestart, killSandboxes } from '../crash.ts';

const LIST = { tool: 'Bash', input: { command: 'ls', cwd: '/' } };
const SAME = { tool: 'Bash', input: { cwd: '/', command: 'ls' } };
const OTHER = { tool: 'Bash', input: { command: 'rm' } };

type Told = { event: string; data: Record<string, unknown> };

let atoll: Atoll;
before(async () => {
  atoll = await startAtoll();
  await deploy(atoll.client, 'asking', asking);
});
after(() => atoll[Symbol.asyncDispose]());

async function open(): Promise<string> {
  return (await atoll.client.call('session.create', { agent: 'asking' })).session.id;
}

async function say(sessionId: string, content: object): Promise<Told[]> {
  const events = await Array.fromAsync(atoll.client.send(sessionId, { content: JSON.stringify(content) }));
  return events.map(({ event, text }) => ({ event, data: JSON.parse(text) }));
}

const show = async (sessionId: string) => (await atoll.client.call('session.show', { sessionId })).session;
const listed = async (sessionId: string, status?: 'requested' | 'resolved') =>
  (await atoll.client.call('approval.list', { sessionId, ...(status && { status }) })).approvals;

/** The open ones, once there are `count`. */
async function opened(sessionId: string, count = 1): Promise<string[]> {
  const approvals = await until(async () => {
    const found = await listed(sessionId);
    return found.length === count && found;
  });
  return approvals.map(({ id }) => id);
}

async function decide(sessionId: string, approvalId: string, decision: 'allow' | 'deny', message?: string) {
  const other = createClient({ url: atoll.url, key: atoll.key });
  return other.call('approval.decide', { sessionId, approvalId, decision, ...(message && { message }) });
}

const named = (events: readonly Told[], name: string) => events.filter(({ event }) => event === name);
const decisionsOf = (events: readonly Told[]) => named(events, 'message')[0]?.data.decisions;
const doneOf = (events: readonly Told[]) => named(events, 'done')[0]?.data;
const approvalsOf = (events: readonly Told[]) =>
  named(events, 'approval').map(({ data }) => [data.status, data.decision, data.cause]);

async function assertFold(sessionId: string): Promise<void> {
  const folded = ['input', 'status', 'done', 'approval'];
  await until(async () => {
    const session = await show(sessionId);
    const openIds = (await listed(sessionId)).map(({ id }) => id);
    const { events } = await atoll.client.call('session.events', { sessionId, limit: 1000 });
    // A sandbox may end at any moment: then they were not asked for the same moment.
    if (events.at(-1)?.seq !== session.lastSeq) return false;
    const state = events
      .filter(({ event }) => folded.includes(event))
      .reduce((before, event) => fold(before, event as StateEvent), initialState);
    assert.deepEqual([state.status, state.turn], [session.status, session.turn]);
    assert.deepEqual(state.approvals.map(({ approvalId }) => approvalId).sort(), openIds);
    return true;
  });
}

test('asked, decided from another client, and the turn goes on', async () => {
  const id = await open();
  const turn = say(id, { ask: [LIST, OTHER] });
  const [first = '', second = ''] = await opened(id, 2);
  assert.equal((await show(id)).status, 'waiting');
  const { approval } = await decide(id, first, 'allow');
  assert.deepEqual([approval.status, approval.decision, approval.tool], ['resolved', 'allow', 'Bash']);
  assert.equal((await show(id)).status, 'waiting', 'one is still open');
  await assertFold(id);
  await decide(id, second, 'deny', 'not today');
  const events = await turn;
  assert.deepEqual(decisionsOf(events), [{ decision: 'allow' }, { decision: 'deny', message: 'not today' }]);
  assert.equal(doneOf(events)?.status, 'completed');
  const statuses = named(events, 'status').map(({ data }) => data.status);
  assert.deepEqual(statuses, ['running', 'waiting', 'running']);
  assert.deepEqual(await listed(id), []);
  assert.equal((await listed(id, 'resolved')).length, 2);
  await assertFold(id);
});

test('of many answers one counts; what is not there is not found', async () => {
  const id = await open();
  const turn = say(id, { ask: [LIST] });
  const [approvalId = ''] = await opened(id);
  const wrong = atoll.client.call('approval.decide', {
    sessionId: id,
    approvalId,
    decision: 'allow',
    answers: { why: 'x' },
  });
  await assert.rejects(wrong, { code: 'invalid_request' });
  const { secret } = await atoll.client.call('key.create', { role: 'client', tenant: 'stranger' });
  const stranger = createClient({ url: atoll.url, key: secret });
  const deciding = stranger.call('approval.decide', { sessionId: id, approvalId, decision: 'allow' });
  await assert.rejects(deciding, { code: 'not_found' });
  await assert.rejects(stranger.call('approval.list', { sessionId: id }), { code: 'not_found' });
  const answers = await Promise.allSettled(
    Array.from({ length: 8 }, (_, n) => decide(id, approvalId, n % 2 === 0 ? 'allow' : 'deny')),
  );
  const refused = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason.code] : []));
  assert.deepEqual(refused, Array(7).fill('already_decided'));
  const events = await turn;
  assert.equal(named(events, 'approval').length, 2);
  await assert.rejects(decide(id, newId('approval'), 'allow'), { code: 'not_found' });
  await assert.rejects(
    decide(await open(), approvalId, 'allow'),
    { code: 'not_found' },
    'of another session',
  );
});

test('an interrupt cancels what is open; so does the end of a turn, and of the session', async () => {
  const id = await open();
  const turn = say(id, { ask: [LIST] });
  const [approvalId = ''] = await opened(id);
  await atoll.client.call('session.interrupt', { sessionId: id });
  await assert.rejects(decide(id, approvalId, 'allow'), { code: 'already_decided' }, 'at once');
  const events = await turn;
  assert.deepEqual(approvalsOf(events), [
    ['requested', undefined, undefined],
    ['resolved', 'cancelled', 'interrupted'],
  ]);
  assert.equal(doneOf(events)?.status, 'interrupted');
  await until(async () => (await show(id)).status === 'idle');
  await assert.rejects(decide(id, approvalId, 'allow'), { code: 'already_decided' });

  const left = await say(id, { ask: [LIST], finally: 'end' });
  assert.deepEqual(approvalsOf(left).at(-1), ['resolved', 'cancelled', 'turn_ended']);
  await assertFold(id);

  const last = say(id, { ask: [LIST] });
  await opened(id);
  await atoll.client.call('session.end', { sessionId: id });
  assert.deepEqual(approvalsOf(await last).at(-1), ['resolved', 'cancelled', 'ended']);
  await assertFold(id);
});

test('the executor dies: a decision waits for the same call, and answers it once', async () => {
  const id = await open();
  assert.equal(doneOf(await say(id, { ask: [LIST, OTHER], finally: 'exit' }))?.status, 'failed');
  assert.equal((await show(id)).status, 'paused');
  const [first = '', second = ''] = await opened(id, 2);
  await decide(id, first, 'allow');
  await assert.rejects(decide(id, first, 'deny'), { code: 'already_decided' });
  await assertFold(id);

  // The second is asked again before anybody decided: it is the same approval.
  const turn = say(id, { ask: [OTHER, SAME, SAME] });
  const [still, once = ''] = await opened(id, 2);
  assert.equal(still, second);
  assert.notEqual(once, first);
  await assertFold(id);
  for (const each of [second, once]) await decide(id, each, 'deny');
  const events = await turn;
  assert.deepEqual(
    (decisionsOf(events) as { decision: string }[]).map(({ decision }) => decision),
    ['deny', 'allow', 'deny'],
  );
  assert.equal(doneOf(events)?.status, 'completed');

  const again = say(id, { ask: [LIST] });
  const [third = ''] = await opened(id);
  assert.ok(third !== first && third !== second, 'once');
  await decide(id, third, 'allow');
  assert.equal(doneOf(await again)?.status, 'completed');
});

test('the executor dies, and nobody asks again: the next turn that completes leaves nothing open', async () => {
  const id = await open();
  await say(id, { ask: [LIST, OTHER], finally: 'exit' });
  const [first = ''] = await opened(id, 2);
  await decide(id, first, 'allow');
  const events = await say(id, {});
  assert.deepEqual(approvalsOf(events), [['resolved', 'cancelled', 'executor_lost']]);
  const turn = say(id, { ask: [LIST] });
  const [asked = ''] = await opened(id);
  assert.notEqual(asked, first, 'what was decided then does not count for ever');
  await decide(id, asked, 'deny');
  await turn;

  await say(id, { ask: [LIST], finally: 'exit' });
  await opened(id);
  await atoll.client.call('session.end', { sessionId: id });
  assert.equal((await listed(id, 'resolved')).at(-1)?.cause, 'executor_lost');
  await assertFold(id);
});

/** The executor dies once all that it asks for stands in the log. */
async function askAndDie(sessionId: string, calls: readonly { input: object }[]): Promise<void> {
  const { lastSeq } = await show(sessionId);
  const turn = say(sessionId, { ask: calls });
  await until(async () => {
    const { events } = await atoll.client.call('session.events', { sessionId, after: lastSeq, limit: 1000 });
    const asked = events.filter(
      ({ event, data }) => event === 'approval' && (data as { status?: unknown }).status === 'requested',
    );
    return asked.length === calls.length;
  });
  await killSandboxes(atoll.pid);
  await turn;
}

test('executors that ask, die, and ask for other things leave no more open than one may ask for', async () => {
  const id = await open();
  const calls = (turn: number) =>
    Array.from({ length: 32 }, (_, n) => ({ tool: 'Bash', input: { turn, n } }));
  for (const turn of [1, 2, 3]) await askAndDie(id, calls(turn));
  const inputs = (await listed(id)).map(({ input }) => input.turn);
  assert.deepEqual(inputs, Array(32).fill(3));
  const { approvals, nextCursor } = await atoll.client.call('approval.list', {
    sessionId: id,
    status: 'resolved',
    limit: 1000,
  });
  assert.deepEqual(new Set(approvals.map(({ cause }) => cause)), new Set(['executor_lost']));
  assert.deepEqual([approvals.length, nextCursor], [64, null]);
  await assertFold(id);
  await askAndDie(id, [...calls(4).slice(1), LIST]);
  const page = await atoll.client.call('approval.list', { sessionId: id, status: 'resolved', limit: 1000 });
  assert.deepEqual([page.approvals.length, page.nextCursor], [64, page.approvals.at(-1)?.id]);
});

test('a bridge that asks for too much, or for nobody, is ended', async () => {
  const many = Array.from({ length: 33 }, (_, n) => ({ tool: 'Bash', input: { n } }));
  for (const [ask, says] of [
    [many, /more than 32 approvals/],
    [[{ ...LIST, turnId: 'another' }], /outside of a turn/],
    [[{ tool: 'Write', input: { content: 'x'.repeat(300_000) } }], /more than 262144 bytes/],
    [[{ tool: 5 }], /malformed/],
    [[{ tool: 'Bash\n', input: {} }], /malformed/],
    [[{ tool: 'Bash', deep: 100_000 }], /malformed.*nested too deep/],
  ] as const) {
    const id = await open();
    const done = doneOf(await say(id, { ask }));
    assert.deepEqual([done?.status, done?.cause], ['failed', 'protocol_violation']);
    assert.match(String(done?.detail), says);
    assert.ok((await listed(id)).length <= 32);
    await atoll.client.call('session.end', { sessionId: id });
  }
});

test('kill -9 of the server while it waits: what is open is there afterwards, and can be decided', async () => {
  const id = await open();
  const content = JSON.stringify({ ask: [LIST, OTHER] });
  await atoll.client.call('session.send', { sessionId: id, content });
  const [first = '', second = ''] = await opened(id, 2);
  await killAndRestart(atoll);
  const session = await show(id);
  assert.deepEqual([session.status, session.cause], ['paused', 'server_lost']);
  assert.deepEqual((await opened(id, 2)).sort(), [first, second].sort());
  await assertFold(id);
  await decide(id, first, 'allow');
  await killAndRestart(atoll);
  await assert.rejects(decide(id, first, 'deny'), { code: 'already_decided' });
  await assertFold(id);
  const turn = say(id, { ask: [LIST, OTHER] });
  await until(async () => (await show(id)).status === 'waiting');
  await decide(id, second, 'deny');
  assert.deepEqual(decisionsOf(await turn), [{ decision: 'allow' }, { decision: 'deny' }]);
});

type Step = 'nothing' | 'list' | 'both' | 'exit' | 'allow' | 'deny' | 'race' | 'interrupt' | 'settle';

async function perform(sessionId: string, step: Step): Promise<void> {
  const { client } = atoll;
  const messages: Partial<Record<Step, object>> = {
    nothing: {},
    list: { ask: [LIST] },
    both: { ask: [OTHER, SAME, LIST] },
    exit: { ask: [LIST, OTHER], finally: 'exit' },
  };
  const message = messages[step];
  if (message) await client.call('session.send', { sessionId, content: JSON.stringify(message) });
  else if (step === 'interrupt') await client.call('session.interrupt', { sessionId });
  else if (step === 'settle') await settle(sessionId);
  else {
    const [first] = await listed(sessionId);
    if (!first) return;
    const deciding = decide(sessionId, first.id, step === 'deny' ? 'deny' : 'allow');
    const others = step === 'race' ? [perform(sessionId, 'interrupt')] : [];
    for (const result of await Promise.allSettled([deciding, ...others]))
      if (result.status === 'rejected') assert.equal(result.reason.code, 'already_decided');
  }
}

/** Until nothing runs: whatever is asked is allowed. */
async function settle(sessionId: string): Promise<void> {
  await until(async () => {
    const { status, queuedTurns, turn } = await show(sessionId);
    if (turn !== null) await perform(sessionId, 'allow');
    return (status === 'idle' || status === 'paused') && queuedTurns === 0;
  }, 20_000);
}

test('whatever happens: each is resolved at most once, nothing hangs, and the fold says the same', async () => {
  const steps: Step[] = ['nothing', 'list', 'both', 'exit', 'allow', 'deny', 'race', 'interrupt', 'settle'];
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom(...steps), { minLength: 3, maxLength: 10 }), async (run) => {
      const id = await open();
      for (const step of run) await perform(id, step);
      await settle(id);
      await assertFold(id);
      await atoll.client.call('session.end', { sessionId: id });
      await assertFold(id);
      assert.deepEqual(await listed(id), []);
      const { events } = await atoll.client.call('session.events', { sessionId: id, limit: 1000 });
      const resolved = events
        .map(({ event, data }) => ({ event, data: data as Record<string, unknown> }))
        .filter(({ event, data }) => event === 'approval' && data.status === 'resolved')
        .map(({ data }) => data.approvalId);
      assert.equal(new Set(resolved).size, resolved.length);
    }),
    { numRuns: 12, seed: 11, endOnFailure: true },
  );
});
