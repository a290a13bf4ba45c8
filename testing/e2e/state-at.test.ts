/**
 * Time travel: of now, state is what lives; of any past moment, what a poller saw then; and whichever checkpoint it is
 * read from, what the fold of the log from its beginning gives (I5).
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { OperationResult } from '@atoll/protocol';
import { fold, initialState, type SessionState, type StateEvent } from '@atoll/server';
import fc from 'fast-check';
import { asking, versatile } from '../agents.ts';
import { type Atoll, deploy, deployProgram, startAtoll, until } from '../atoll.ts';
import { random } from '../random.ts';

let atoll: Atoll;
before(async () => {
  atoll = await startAtoll({ args: ['--capacity', '2', '--driver', 'process'] });
  await deployProgram(atoll.client, 'versatile', versatile);
  await deploy(atoll.client, 'asking', asking);
});
after(() => atoll[Symbol.asyncDispose]());

const state = (sessionId: string, at?: string | number) =>
  atoll.client.call('session.state', { sessionId, ...(at === undefined ? {} : { at }) });
const system = (at?: string) => atoll.client.call('state.show', at === undefined ? {} : { at });

type State = NonNullable<OperationResult<'session.state'>['session']>;
type Seen = { states: OperationResult<'session.state'>[]; systems: OperationResult<'state.show'>[] };

/** What somebody sees who asks again and again, and that it is what lives whenever nothing changed meanwhile. */
function startPoller(sessionId: string): { seen: Seen; stop(): Promise<void> } {
  const seen: Seen = { states: [], systems: [] };
  let stopped = false;
  const polling = (async () => {
    while (!stopped) {
      const first = await state(sessionId);
      const { session: live } = await atoll.client.call('session.show', { sessionId });
      const { approvals } = await atoll.client.call('approval.list', { sessionId });
      const second = await state(sessionId);
      seen.states.push(first, second);
      seen.systems.push(await system());
      if (first.session?.lastSeq === second.session?.lastSeq && second.session)
        assert.deepEqual(shown(second.session), [
          ...[live.id, live.status, live.cause, live.turn, live.usage, live.lastSeq],
          approvals.map(({ id }) => id).sort(),
        ]);
      await delay(3);
    }
  })();
  // Until somebody stops it.
  polling.catch(() => undefined);
  return {
    seen,
    async stop() {
      stopped = true;
      await polling;
    },
  };
}

function shown({ id, status, cause, turn, usage, lastSeq, approvals }: State): unknown[] {
  return [id, status, cause, turn, usage, lastSeq, approvals.map(({ approvalId }) => approvalId).sort()];
}

type Step = 'echo' | 'emit' | 'fail' | 'crash' | 'wait' | 'interrupt' | 'evict' | 'settle';
type AskingStep = 'ask' | 'decide' | 'interrupt' | 'settle';

async function perform(sessionId: string, step: Step | AskingStep): Promise<void> {
  const { client } = atoll;
  if (step === 'interrupt') await client.call('session.interrupt', { sessionId });
  else if (step === 'settle') await settle(sessionId);
  else if (step === 'evict') await evict();
  else if (step === 'decide') await decide(sessionId);
  else if (step === 'ask') {
    const call = { tool: 'Bash', input: { command: 'make' } };
    await client.call('session.send', { sessionId, content: JSON.stringify({ ask: [call, call] }) });
  } else await client.call('session.send', { sessionId, content: step === 'emit' ? 'emit 1500' : step });
}

async function decide(sessionId: string): Promise<void> {
  const { approvals } = await atoll.client.call('approval.list', { sessionId });
  const [open] = approvals;
  if (open)
    await atoll.client
      .call('approval.decide', { sessionId, approvalId: open.id, decision: 'allow' })
      .catch((error) => assert.equal(error.code, 'already_decided'));
}

async function evict(): Promise<void> {
  const { client } = atoll;
  const create = () => client.call('session.create', { agent: 'versatile' });
  for (const other of await Promise.allSettled([create(), create()]))
    if (other.status === 'fulfilled') await client.call('session.end', { sessionId: other.value.session.id });
}

async function settle(sessionId: string): Promise<void> {
  await until(async () => {
    const { session } = await atoll.client.call('session.show', { sessionId });
    if (session.turn !== null) await atoll.client.call('session.interrupt', { sessionId });
    return ['idle', 'paused', 'ended', 'failed'].includes(session.status) && session.queuedTurns === 0;
  });
}

const steps = fc.constantFrom<Step>('echo', 'emit', 'fail', 'crash', 'wait', 'interrupt', 'evict', 'settle');
const askingSteps = fc.constantFrom<AskingStep>('ask', 'ask', 'decide', 'decide', 'interrupt', 'settle');

for (const [agent, step] of [
  ['versatile', steps],
  ['asking', askingSteps],
] as const)
  test(`what a poller saw of ${agent} is what the state of that moment says later`, {
    timeout: 120_000,
  }, async () => {
    const history = fc.array<Step | AskingStep>(step, { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(history, async (performed) => {
        const { session } = await atoll.client.call('session.create', { agent });
        const poller = startPoller(session.id);
        for (const each of performed) await perform(session.id, each);
        await settle(session.id);
        await atoll.client.call('session.end', { sessionId: session.id });
        await poller.stop();
        for (const seen of poller.seen.states) assert.deepEqual(await state(session.id, seen.asOf), seen);
        for (const seen of poller.seen.systems) assert.deepEqual(await system(String(seen.asOf)), seen);
        await assertFold(session.id);
      }),
      { numRuns: 8, seed: 3, endOnFailure: true },
    );
  });

type Event = OperationResult<'session.events'>['events'][number];

async function eventsOf(sessionId: string): Promise<Event[]> {
  const all: Event[] = [];
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const page = await atoll.client.call('session.events', {
      ...{ sessionId, limit: 1000 },
      ...(cursor === undefined ? {} : { cursor }),
    });
    all.push(...page.events);
    cursor = page.nextCursor;
  }
  return all;
}

/** At a number of places, by seq and by time: what the fold of all events before it gives. */
async function assertFold(sessionId: string): Promise<void> {
  const events = await eventsOf(sessionId);
  const states: SessionState[] = [initialState];
  for (const { event, data } of events) {
    const last = states.at(-1) ?? initialState;
    const changes = ['input', 'status', 'approval', 'done'].includes(event);
    states.push(changes ? fold(last, { event, data } as StateEvent) : last);
  }
  const number = random(events.length);
  const places = Array.from({ length: 20 }, () => 1 + Math.floor(number() * events.length));
  for (const seq of [...places, 1, events.length]) {
    const { asOf, session } = await state(sessionId, seq);
    assert.equal(asOf, seq);
    assertIs(session, states[seq], seq);
    const { time = '' } = events[seq - 1] ?? {};
    const then = events.findLast((event) => event.time <= time)?.seq ?? 0;
    assertIs((await state(sessionId, time)).session, states[then], then);
  }
}

function assertIs(session: State | null, folded: SessionState | undefined, seq: number): void {
  assert.ok(session && folded);
  const { status, cause, turn, approvals, usage } = folded;
  assert.deepEqual(
    [session.status, session.cause, session.turn, session.approvals, session.usage, session.lastSeq],
    [status, cause, turn, approvals, usage, seq],
  );
}

test('before its beginning there is nothing, and the future is now', async () => {
  const { client } = atoll;
  const before = new Date(Date.now() - 1).toISOString();
  const { session } = await client.call('session.create', { agent: 'versatile' });
  assert.deepEqual(await state(session.id, before), { asOf: before, session: null });
  assert.deepEqual((await state(session.id, 0)).session, null);
  assert.ok(!(await system(before)).sessions.some(({ id }) => id === session.id));
  const nothing = { sessions: [], sandboxes: [], runners: [], nextCursor: null };
  const long = '2001-01-01T00:00:00.000Z';
  assert.deepEqual(await system('2001-01-01T01:00:00+01:00'), { asOf: long, ...nothing });
  const { asOf, session: later } = await state(session.id, '2999-01-01T00:00:00Z');
  assert.ok(Math.abs(Date.parse(String(asOf)) - Date.now()) < 5_000);
  assert.deepEqual(later, (await state(session.id)).session);
  await assert.rejects(state(session.id, session.lastSeq + 1), { code: 'invalid_cursor' });
  for (const at of ['yesterday', '-1', '2026-01-01']) {
    await assert.rejects(state(session.id, at), { code: 'invalid_request' });
    await assert.rejects(system(at), { code: 'invalid_request' });
  }
  await assert.rejects(system('5'), { code: 'invalid_request' }, 'the system has no seq');
  await client.call('session.end', { sessionId: session.id });
});

test('the sandboxes and runners there were', async () => {
  const { client } = atoll;
  const { session } = await client.call('session.create', { agent: 'versatile' });
  const up = await system();
  const own = up.sandboxes.filter(({ sessionId }) => sessionId === session.id);
  assert.deepEqual(own, [
    { id: session.sandboxId, sessionId: session.id, runnerId: session.runnerId, status: 'ready' },
  ]);
  const [runner] = up.runners;
  assert.deepEqual([runner?.id, runner?.capacity], [session.runnerId, 2]);
  assert.deepEqual([runner?.reserved, runner?.status], [up.sandboxes.length, 'available']);
  await client.call('session.end', { sessionId: session.id });
  const down = await system();
  assert.equal(down.sandboxes.length, up.sandboxes.length - 1);
  await atoll.restart();
  assert.deepEqual(await system(String(up.asOf)), up);
  assert.deepEqual(await system(String(down.asOf)), down);
  assert.deepEqual(
    (await system()).runners.map(({ reserved }) => reserved),
    [0],
  );
});

test('the whole system in pages', async () => {
  const whole = await system();
  const pages: string[] = [];
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const page: OperationResult<'state.show'> = await atoll.client.call('state.show', {
      ...{ at: String(whole.asOf), limit: 3 },
      ...(cursor === undefined ? {} : { cursor }),
    });
    pages.push(...page.sessions.map(({ id }) => id));
    cursor = page.nextCursor;
  }
  assert.ok(pages.length > 6);
  assert.deepEqual(
    pages.slice(0, 100),
    whole.sessions.map(({ id }) => id),
  );
});
