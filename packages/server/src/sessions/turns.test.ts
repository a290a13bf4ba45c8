import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goneLink } from '../runners/gone-link.ts';
import type { Store } from '../store/store.ts';
import type { Approvals } from './approvals.ts';
import { initialState } from './fold.ts';
import type { LiveSession, LiveTurn } from './live-session.ts';
import { createTurns } from './turns.ts';

test('who interrupts a turn whose runner is waited for hears of it when that runner was told', async () => {
  const told: string[] = [];
  const turns = createTurns({
    store: {} as Store,
    now: () => 0,
    approvals: {} as Approvals,
    linkOf: () => ({ ...goneLink('one'), cancel: async ({ commandId }) => void told.push(commandId) }),
    resume: () => undefined,
    onTurnEnded: () => undefined,
    onSandboxLost: () => undefined,
    onBroken: () => undefined,
  });
  const turn = { id: 'turn_1', interrupted: false } as LiveTurn;
  const awaited = Promise.withResolvers<void>();
  const session: Partial<LiveSession> = {
    epoch: 1,
    status: 'running',
    state: { ...initialState, turn: turn.id, sandboxId: 'sbx_1' },
    turns: new Map([[turn.id, turn]]),
    awaited,
  };
  const interrupting = turns
    .interrupt(session as LiveSession, { queued: false })
    .then(() => void told.push('answered'));
  await new Promise(setImmediate);
  assert.deepEqual([turn.interrupted, told], [true, []]);
  awaited.resolve();
  await interrupting;
  assert.deepEqual(told, ['turn_1', 'answered']);
});
