import assert from 'node:assert/strict';
import { test } from 'node:test';
import { childTraceparent, isTraceparent } from './trace.ts';

const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

test('a child keeps trace and flags, and has a span of its own', () => {
  const child = childTraceparent(parent);
  assert.ok(isTraceparent(child));
  assert.equal(child.slice(0, 36), parent.slice(0, 36));
  assert.equal(child.slice(52), parent.slice(52));
  assert.notEqual(child, parent);
});

test('what is no traceparent starts a new trace', () => {
  const bad = [
    undefined,
    '',
    'x',
    parent.slice(1),
    parent.replace('0af7651916cd43dd8448eb211c80319c', '0'.repeat(32)),
  ];
  for (const value of bad) {
    const child = childTraceparent(value);
    assert.ok(isTraceparent(child), child);
    assert.ok(!child.includes('0af7651916cd43dd8448eb211c80319c'));
  }
});
