import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashOf } from './approvals.ts';

test('a call is the same whatever the order of its members, at any depth, and no other is', () => {
  const call = { tool: 'Bash', input: { a: [1, { b: 2, c: null }], d: 'x' } };
  const same = { tool: 'Bash', input: { d: 'x', a: [1, { c: null, b: 2 }] } };
  assert.equal(hashOf(call), hashOf(same));
  const others = [
    { ...call, tool: 'bash' },
    { ...call, input: { ...call.input, d: 'y' } },
    { ...call, input: { ...call.input, e: null } },
    { ...call, input: { ...call.input, a: [{ b: 2, c: null }, 1] } },
  ];
  for (const other of others) assert.notEqual(hashOf(call), hashOf(other));
});

test('members that look like a place in a list, or like a prototype, count too', () => {
  const input = (json: string) => ({ tool: 'x', input: JSON.parse(json) });
  assert.equal(hashOf(input('{"2":1,"1":2}')), hashOf(input('{"1":2,"2":1}')));
  assert.notEqual(hashOf(input('{"__proto__":1}')), hashOf(input('{}')));
  assert.notEqual(hashOf(input('{"__proto__":{"a":1}}')), hashOf(input('{"__proto__":{"a":2}}')));
});
