/** I5: whatever happened to a session, its live state equals the fold of its log, and every step was a legal one. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fold, initialState, type StateEvent, sessionTable } from '@atoll/server';
import fc from 'fast-check';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll, until } from '../atoll.ts';

let atoll: Atoll;
before(async () => {
  atoll = await startAtoll({ args: ['--capacity', '2', '--driver', 'process'] });
  await deployProgram(atoll.client, 'versatile', versatile);
});
after(() => atoll[Symbol.asyncDispose]());

type Step = 'echo' | 'fail' | 'crash' | 'wait' | 'interrupt' | 'interruptAll' | 'evict' | 'settle' | 'end';

async function perform(sessionId: string, step: Step): Promise<void> {
  const { client } = atoll;
  if (step === 'echo' || step === 'fail' || step === 'crash' || step === 'wait') {
    await client.call('session.send', { sessionId, content: step });
  } else if (step === 'interrupt') await client.call('session.interrupt', { sessionId });
  else if (step === 'interruptAll') await client.call('session.interrupt', { sessionId, queued: true });
  else if (step === 'settle') await settle(sessionId);
  else if (step === 'end') await client.call('session.end', { sessionId });
  else {
    // Another session needs the place. When this one is busy, it is refused instead; both are fine here.
    const others = await Promise.allSettled(
      [0, 1].map(() => client.call('session.create', { agent: 'versatile' })),
    );
    for (const other of others)
      if (other.status === 'fulfilled')
        await client.call('session.end', { sessionId: other.value.session.id });
  }
}

/** Waits until nothing runs: a waiting agent is told to stop. */
async function settle(sessionId: string): Promise<void> {
  await until(async () => {
    const { session } = await atoll.client.call('session.show', { sessionId });
    if (session.turn !== null) await atoll.client.call('session.interrupt', { sessionId });
    return ['idle', 'paused', 'ended', 'failed'].includes(session.status) && session.queuedTurns === 0;
  });
}

test('live state equals the fold of the log', { timeout: 120_000 }, async () => {
  const step = fc.constantFrom<Step>(
    'echo',
    'echo',
    'fail',
    'crash',
    'wait',
    'interrupt',
    'interruptAll',
    'evict',
    'settle',
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), fc.boolean(), async (steps, ends) => {
      const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
      for (const each of steps) await perform(session.id, each);
      if (!ends) await settle(session.id);
      else await perform(session.id, 'end');
      await assertFold(session.id);
      await perform(session.id, 'end');
    }),
    { numRuns: 25, seed: 7, endOnFailure: true },
  );
});

async function assertFold(sessionId: string): Promise<void> {
  const { session } = await atoll.client.call('session.show', { sessionId });
  const { events } = await atoll.client.call('session.events', { sessionId, limit: 1000 });
  let state = initialState;
  for (const { event, data } of events) {
    if (event !== 'input' && event !== 'status' && event !== 'done') continue;
    const next = fold(state, { event, data } as StateEvent);
    if (event === 'status' && state !== initialState && next.status !== state.status) {
      const legal = Object.values(sessionTable[state.status]);
      assert.ok(legal.includes(next.status), `${state.status} → ${next.status}`);
    }
    state = next;
  }
  assert.deepEqual(
    [state.status, state.cause, state.turn, state.queue.length, state.usage, state.sandboxId],
    [session.status, session.cause, session.turn, session.queuedTurns, session.usage, session.sandboxId],
  );
  assert.equal(events.at(-1)?.seq, session.lastSeq);
  const inputs = events.filter((event) => event.event === 'input').length;
  assert.equal(
    events.filter((event) => event.event === 'done').length,
    inputs,
    'every turn has its one done',
  );
}
