import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApprovalRequest } from '@atoll/protocol/approvals';
import { createApprove, policyOf } from './approvals.ts';

const request: ApprovalRequest = { kind: 'tool', tool: 'Bash', input: {}, options: ['allow', 'deny'] };

test('the longest pattern that fits says what is done', () => {
  const approvals = {
    '*': 'always_ask',
    'mcp__git__*': 'always_allow',
    mcp__git__push: 'deny',
    'a.c': 'deny',
  } as const;
  assert.equal(policyOf(approvals, 'Bash'), 'always_ask');
  assert.equal(policyOf(approvals, 'mcp__git__log'), 'always_allow');
  assert.equal(policyOf(approvals, 'mcp__git__push'), 'deny');
  assert.equal(policyOf(approvals, 'abc'), 'always_ask', 'only * is special');
  assert.equal(policyOf({ Bash: 'deny' }, 'BashOutput'), undefined);
});

test('what the runner would not take is denied here, with the reason', async () => {
  const asked: unknown[] = [];
  let turnId: string | undefined;
  const ask = (params: unknown) => {
    asked.push(params);
    return new Promise(() => undefined);
  };
  const approve = createApprove({ ask, turnId: () => turnId });
  const { signal } = new AbortController();
  assert.equal((await approve(request, signal)).decision, 'deny', 'between turns');
  turnId = 't';
  const large = { ...request, input: { content: 'é'.repeat(131_072) } };
  assert.match((await approve(large, signal)).message ?? '', /too large/);
  const deep = { ...request, input: JSON.parse(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`) };
  assert.match((await approve(deep, signal)).message ?? '', /too large/);
  assert.equal(asked.length, 0);
  for (let n = 0; n < 32; n++) void approve(request, signal);
  assert.match((await approve(request, signal)).message ?? '', /Too much/);
  assert.deepEqual([asked.length, asked[0]], [32, { turnId: 't', ...request }]);
});

test('what the executor no longer waits for, and what nobody can answer, is cancelled', async () => {
  const cancelled = { decision: 'cancelled' };
  const never = createApprove({ ask: () => new Promise(() => undefined), turnId: () => 't' });
  const withdrawn = new AbortController();
  const waiting = never(request, withdrawn.signal);
  withdrawn.abort();
  assert.deepEqual(await waiting, cancelled);
  assert.deepEqual(await never(request, withdrawn.signal), cancelled);
  const gone = createApprove({ ask: () => Promise.reject(new Error('gone')), turnId: () => 't' });
  assert.deepEqual(await gone(request, new AbortController().signal), cancelled);
});
