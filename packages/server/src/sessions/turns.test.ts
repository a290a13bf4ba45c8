import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunnerLink } from '@atoll/protocol/runner-link';
import { DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely';
import { goneLink } from '../runners/gone-link.ts';
import type { Store } from '../store/store.ts';
import type { Tables } from '../store/tables.ts';
import type { Approvals } from './approvals.ts';
import { initialState } from './fold.ts';
import type { LiveSession, LiveTurn } from './live-session.ts';
import { createTurns } from './turns.ts';

/** Makes queries that nobody runs. */
const sql = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
});

function openTurns(link: Partial<RunnerLink>) {
  return createTurns({
    store: { sql } as Store,
    now: () => 0,
    approvals: {} as Approvals,
    linkOf: () => ({ ...goneLink('one'), ...link }),
    resume: () => undefined,
    onTurnEnded: () => undefined,
    onSandboxLost: () => undefined,
    onBroken: () => undefined,
  });
}

test('who interrupts a turn whose runner is waited for hears of it when that runner was told', async () => {
  const told: string[] = [];
  const turns = openTurns({ cancel: async ({ commandId }) => void told.push(commandId) });
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

test('what was said before the first message is recorded with it, and the command follows when both are kept', async () => {
  const did: string[] = [];
  const kept = Promise.withResolvers<void>();
  const turns = openTurns({
    said({ sandboxId, epoch }) {
      const messages = { bytes: Buffer.from('{"a":1}'), spans: Uint32Array.of(0, 7) };
      return sandboxId === 'sbx_1' && epoch === 2 ? [{ kind: 'messages', messages, line: 4 }] : [];
    },
    command(request) {
      did.push('command');
      return goneLink('one').command(request);
    },
  });
  const turn = { id: 'turn_1', interrupted: false, content: 'hello', options: {} } as LiveTurn;
  const session: Partial<LiveSession> = {
    id: 'ses_1',
    epoch: 2,
    status: 'idle',
    state: { ...initialState, queue: [turn.id], sandboxId: 'sbx_1' },
    turns: new Map([[turn.id, turn]]),
    scanNow: () => undefined,
    seqOf: () => 7,
    statusEvent: () => ({ event: 'status', data: { status: 'running', turnId: turn.id } }),
    async record([first]) {
      did.push(first?.event ?? '');
    },
    recordMessages({ line }) {
      did.push(`messages ${line}`);
      return kept.promise;
    },
  };
  turns.advance(session as LiveSession);
  assert.deepEqual(did, ['status', 'messages 4']);
  await new Promise(setImmediate);
  assert.deepEqual(did.slice(2), []);
  kept.resolve();
  for (let i = 0; i < 2; i++) await new Promise(setImmediate);
  assert.deepEqual(did[2], 'command');
});
