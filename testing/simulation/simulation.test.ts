import assert from 'node:assert/strict';
import { test } from 'node:test';
import { described, judge } from './many.ts';
import { simulate } from './simulate.ts';

test('the same seed is the same run, and another one another', async () => {
  const [first, other] = [await simulate({ seed: 11 }), await simulate({ seed: 12 })];
  const again = await simulate({ seed: 11 });
  assert.deepEqual(again.trace, first.trace);
  assert.equal(again.hash, first.hash);
  assert.notEqual(other.hash, first.hash);
});

test('what breaks in 200 simulated runs, the promises hold', async () => {
  const failures = await judge({ from: 1, count: 200 });
  assert.deepEqual(failures.map(described), []);
});
