import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Executor, TurnEnd } from './executor.ts';
import { createTurns, INTERRUPT_GRACE_MS } from './turns.ts';

const TURN = { turnId: 't', content: 'hello', options: {} };

/** An executor that does nothing by itself: its turn ends when the test says so. */
function createStillExecutor() {
  const calls: string[] = [];
  const end = Promise.withResolvers<TurnEnd>();
  const executor: Executor = {
    warm: () => undefined,
    resume: () => undefined,
    query: () => end.promise,
    interrupt: () => calls.push('interrupt'),
    kill: () => {
      calls.push('kill');
      end.resolve({ status: 'failed', cause: 'executor_crashed' });
    },
    stop: async () => undefined,
  };
  return { executor, calls, end };
}

function createManualTimers() {
  const pending: { delayMs: number; run: () => void }[] = [];
  return {
    pending,
    after(delayMs: number, run: () => void) {
      const timer = { delayMs, run };
      pending.push(timer);
      return () => void pending.splice(pending.indexOf(timer), 1);
    },
  };
}

it('kills an executor that does not comply with an interrupt, after its grace', async () => {
  const { executor, calls } = createStillExecutor();
  const timers = createManualTimers();
  const turns = createTurns(executor, timers);
  const running = turns.query(TURN);
  turns.interrupt('t');
  turns.interrupt('t');
  assert.deepEqual(calls, ['interrupt']);
  assert.equal(timers.pending[0]?.delayMs, INTERRUPT_GRACE_MS);
  timers.pending[0]?.run();
  const end = await running;
  assert.deepEqual(calls, ['interrupt', 'kill']);
  assert.equal(end.status, 'interrupted');
  assert.equal(end.cause, 'interrupted');
});

it('answers interrupted even when the turn got done, and leaves no deadline behind', async () => {
  const { executor, end } = createStillExecutor();
  const timers = createManualTimers();
  const turns = createTurns(executor, timers);
  const running = turns.query(TURN);
  turns.interrupt('t');
  end.resolve({ status: 'completed', stopReason: 'end_turn', executorSessionId: 's' });
  assert.deepEqual(await running, {
    status: 'interrupted',
    cause: 'interrupted',
    detail: 'The turn was interrupted on request.',
    executorSessionId: 's',
  });
  assert.equal(timers.pending.length, 0);
});
