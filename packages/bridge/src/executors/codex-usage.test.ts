import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createUsage } from './codex-usage.ts';

const tokens = (inputTokens: number, outputTokens: number, cachedInputTokens = 0) => ({
  inputTokens,
  outputTokens,
  cachedInputTokens,
  cacheWriteInputTokens: 0,
});
const told = (threadId: string, total: object, last: object) => ({ threadId, tokenUsage: { total, last } });

test('a turn has what its threads grew by, whatever is told again', () => {
  const usage = createUsage();
  // A thread that was resumed tells its total, before the turn and again in it.
  usage.take(told('main', tokens(200, 40), tokens(100, 20)));
  usage.reset();
  usage.take(told('main', tokens(200, 40), tokens(100, 20)));
  assert.deepEqual([usage.of(0).turns, usage.of(0).inputTokens], [0, 0]);
  usage.take(told('main', tokens(300, 60, 70), tokens(100, 20, 70)));
  usage.take(told('main', tokens(300, 60, 70), tokens(9_999, 0)));
  usage.take(told('subagent', tokens(50, 5), tokens(50, 5)));
  assert.deepEqual(usage.of(7), {
    inputTokens: 80,
    outputTokens: 25,
    cacheReadTokens: 70,
    cacheCreationTokens: 0,
    turns: 2,
    durationMs: 7,
  });
  usage.reset();
  assert.equal(usage.of(0).turns, 0);
});

test('what has no form is no usage', () => {
  const usage = createUsage();
  for (const tokenUsage of [undefined, null, 'x', {}, { total: { inputTokens: '5' } }])
    usage.take({ threadId: 'main', tokenUsage });
  assert.deepEqual([usage.of(0).turns, usage.of(0).inputTokens], [0, 0]);
});
