import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AtollError } from './errors.ts';
import { newId } from './ids.ts';
import { operations } from './operations.ts';
import { parse } from './parse.ts';
import { agentConfig } from './schemas/agent.ts';

const create = operations['session.create'].params;

test('a fault names its place and what is wrong there', () => {
  const faults: [unknown, RegExp][] = [
    [{}, /"agent" is missing/],
    [{ agent: 'Not A Name' }, /"agent": must be 1-64 of/],
    [{ agent: 'a', nope: 1 }, /unknown field "nope"/],
    [{ agent: 'a', env: { OK: 5 } }, /"env.OK"/],
    [7, /Expected Object/],
    [null, /Expected Object/],
  ];
  for (const [value, expected] of faults)
    assert.throws(
      () => parse(create, value),
      (error) =>
        error instanceof AtollError && error.code === 'invalid_request' && expected.test(error.detail),
      String(expected),
    );
});

test('whoever writes a message wrongly is told what one is', () => {
  const send = operations['session.send'].params;
  const sessionId = newId('session');
  const how = /"content": must be text, or a list of blocks, each an object with a "type"/;
  for (const content of [5, {}, ['text'], [{}], [{ type: 'text', text: 'x' }, { text: 'y' }]])
    assert.throws(() => parse(send, { sessionId, content }), how, JSON.stringify(content));
  for (const content of ['', []]) assert.throws(() => parse(send, { sessionId, content }), /"content": /);
});

test('an array is no object, though it is empty', () => {
  const created = ['mcpServers', 'env', 'metadata', 'demands'].map((name) => ({ agent: 'a', [name]: [] }));
  for (const value of [...created, { agent: 'a', demands: { labels: [] } }])
    assert.throws(() => parse(create, value), /Expected Object but received Array/, JSON.stringify(value));
  const decided = {
    sessionId: newId('session'),
    approvalId: newId('approval'),
    decision: 'allow',
    answers: [],
  };
  assert.throws(() => parse(operations['approval.decide'].params, decided), /"answers": .*received Array/);
  for (const value of [[], { env: [] }, { demands: [] }, { limits: [] }, { approvals: [] }])
    assert.throws(
      () => parse(agentConfig, value),
      /Expected Object but received Array/,
      JSON.stringify(value),
    );
});

test('huge names in hostile input do not come back whole', () => {
  const name = 'x'.repeat(100_000);
  assert.throws(
    () => parse(create, { agent: 'a', [name]: 1 }),
    (error) => error instanceof AtollError && error.detail.length < 1000,
  );
});

test('defaults are filled in', () => {
  assert.equal(parse(operations['session.list'].params, {}).limit, 100);
});

test('limits are refused outside of their range, never clamped', () => {
  for (const limit of [0, 1001, 1.5, Number.NaN])
    assert.throws(() => parse(operations['session.list'].params, { limit }));
});
