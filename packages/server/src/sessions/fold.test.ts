import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addUsage, fold, initialState, type SessionState, type StateEvent } from './fold.ts';

const turn = (n: number) => `turn_${String(n).padStart(26, '0')}`;
const foldAll = (events: StateEvent[]) => events.reduce(fold, initialState);
const input = (n: number): StateEvent => ({ event: 'input', data: { turnId: turn(n), content: 'hello' } });
const running = (n: number): StateEvent => ({
  event: 'status',
  data: { status: 'running', turnId: turn(n) },
});
const done = (n: number): StateEvent => ({
  event: 'done',
  data: { sessionId: '', turnId: turn(n), status: 'completed', usage: { inputTokens: 2, costUsd: 0.5 } },
});

test('turns queue, run and leave', () => {
  assert.deepEqual(foldAll([input(1), input(2)]).queue, [turn(1), turn(2)]);
  const started = foldAll([input(1), input(2), running(1)]);
  assert.deepEqual([started.turn, started.queue], [turn(1), [turn(2)]]);
  assert.deepEqual(foldAll([input(1), running(1), done(1)]).turn, null);
  assert.deepEqual(foldAll([input(1), input(2), running(1), done(2)]).queue, []);
});

const approval = (n: number, status: 'requested' | 'resolved'): StateEvent => ({
  event: 'approval',
  data: {
    approvalId: `appr_${n}`,
    status,
    kind: 'tool',
    tool: 'Bash',
    input: {},
    options: ['allow', 'deny'],
  },
});
const openOf = (events: StateEvent[]) => foldAll(events).approvals.map(({ approvalId }) => approvalId);

test('approvals are open until they are resolved, and one that is asked again is the same one', () => {
  const two = [approval(1, 'requested'), approval(2, 'requested')];
  assert.deepEqual(openOf(two), ['appr_1', 'appr_2']);
  assert.deepEqual(openOf([...two, approval(1, 'requested')]), ['appr_2', 'appr_1']);
  assert.deepEqual(openOf([...two, approval(1, 'resolved'), approval(1, 'resolved')]), ['appr_2']);
});

test('usage adds up over turns', () => {
  const { usage } = foldAll([input(1), running(1), done(1), input(2), running(2), done(2)]);
  assert.deepEqual(usage, { inputTokens: 4, costUsd: 1 });
  assert.deepEqual(addUsage({}, { inputTokens: 'many', outputTokens: 1 }), { outputTokens: 1 });
});

test('a cause belongs to the status that it came with', () => {
  const paused: StateEvent = {
    event: 'status',
    data: { status: 'paused', cause: 'idle', detail: 'nobody came' },
  };
  const state = foldAll([paused]);
  assert.deepEqual([state.cause, state.detail], ['idle', 'nobody came']);
  assert.equal(fold(state, { event: 'status', data: { status: 'resuming' } }).cause, null);
});

test('sandbox and conversation stay known until they are replaced', () => {
  const idle: StateEvent = {
    event: 'status',
    data: { status: 'idle', sandboxId: 'sbx_1' },
  };
  const ended = (conversation: object): StateEvent => ({
    event: 'done',
    data: { sessionId: '', turnId: turn(1), status: 'completed', ...conversation },
  });
  const told = ended({ executorSessionId: 'abc' });
  const state = foldAll([idle, told, ended({}), { event: 'status', data: { status: 'paused' } }]);
  assert.deepEqual([state.sandboxId, state.executorSessionId], ['sbx_1', 'abc']);
});

test('a fork has no sandbox, and branches off a conversation until it has its own', () => {
  const idle: StateEvent = { event: 'status', data: { status: 'idle', sandboxId: 'sbx_1' } };
  const told = (executorSessionId: string): StateEvent => ({
    event: 'done',
    data: { sessionId: '', turnId: turn(1), status: 'completed', executorSessionId },
  });
  const forkedFrom = (conversation: object): StateEvent => ({
    event: 'status',
    data: { status: 'paused', fork: { sessionId: '', seq: 3, snapshotSeq: null, ...conversation } },
  });
  const what = ({ sandboxId, executorSessionId, executorBranches }: SessionState) => [
    ...[sandboxId, executorSessionId, executorBranches],
  ];
  const kept = [idle, told('abc'), forkedFrom({ executorSessionId: 'ab' })];
  assert.deepEqual(what(foldAll(kept)), [null, 'ab', true]);
  assert.deepEqual(what(foldAll([...kept, told('own')])), [null, 'own', false]);
  assert.deepEqual(what(foldAll([idle, told('abc'), forkedFrom({})])), [null, null, false]);
});
