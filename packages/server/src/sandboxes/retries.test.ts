import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retryIn } from './retries.ts';

/** When an attempt is made that fails at once, in milliseconds from the first. */
function attemptsOf(code: Parameters<typeof retryIn>[0], fromMs = 0): number[] {
  const at: number[] = [];
  for (let ms = fromMs; ; ) {
    at.push(ms);
    const waitMs = retryIn(code, at.length, ms);
    if (waitMs === undefined) return at;
    ms += waitMs;
  }
}

test('who asks for what nobody has, is told after three seconds', () => {
  assert.deepEqual(attemptsOf('no_runner'), [0, 250, 750, 1750, 2750, 3000]);
});

test('what may pass is waited for ever longer, for a minute', () => {
  const at = attemptsOf('no_capacity');
  assert.equal(at.at(-1), 60_000);
  assert.deepEqual(at.slice(0, 7), [0, 250, 750, 1750, 3750, 7750, 12_750]);
});

test('after a start there is more time, and the pauses stay short', () => {
  const at = attemptsOf('no_runner', -20_000);
  assert.equal(at.at(-1), 3_000);
  assert.ok(at.every((ms, i) => ms - (at[i - 1] ?? ms) <= 1_000));
});

test('what a runner refuses is not asked for again', () => {
  assert.deepEqual(attemptsOf('sandbox_failed'), [0]);
});
