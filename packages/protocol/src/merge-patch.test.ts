import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergePatch } from './merge-patch.ts';

test('a merge patch does what RFC 7396 says', () => {
  const cases: [target: unknown, patch: unknown, merged: unknown][] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b', null] }, { a: ['b', null] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [1] }, { a: { b: null, c: 1 } }, { a: { c: 1 } }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  ];
  for (const [target, patch, merged] of cases) assert.deepEqual(mergePatch(target, patch), merged);
});

test('a member named as what objects inherit is a member, and nobody inherits it', () => {
  const patch = JSON.parse('{"a":{"__proto__":{"polluted":true},"constructor":1}}');
  const merged = mergePatch({ a: {} }, patch);
  assert.equal(JSON.stringify(merged), '{"a":{"__proto__":{"polluted":true},"constructor":1}}');
  assert.equal(Reflect.get({}, 'polluted'), undefined);
  assert.equal(Reflect.get((merged as { a: object }).a, 'polluted'), undefined);
});
