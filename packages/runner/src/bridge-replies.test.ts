import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from '@atoll/protocol/parse';
import { queryReply } from './bridge-replies.ts';

test('of usage only what can be counted is kept, and what cannot ends no turn', () => {
  const usage = {
    inputTokens: 5,
    outputTokens: -1,
    cacheReadTokens: 1.5,
    cacheCreationTokens: 1e300,
    costUsd: '3',
    turns: null,
    durationMs: 12,
  };
  const reply = (fields: object) => parse(queryReply, { status: 'completed', ...fields });
  assert.deepEqual(reply({ usage }).usage, { inputTokens: 5, durationMs: 12 });
  assert.deepEqual(reply({ usage: { costUsd: 1e7 } }).usage, {});
  assert.deepEqual(reply({ usage: { costUsd: 0.25 } }).usage, { costUsd: 0.25 });
  assert.equal(reply({ usage: 'much' }).usage, undefined);
});

test('an executor session id that is none is ignored', () => {
  const reply = (executorSessionId: unknown) =>
    parse(queryReply, { status: 'completed', executorSessionId }).executorSessionId;
  assert.equal(reply('11111111-2222-4333'), '11111111-2222-4333');
  for (const id of ['--help', '', 5, 'x'.repeat(200)]) assert.equal(reply(id), undefined);
});
