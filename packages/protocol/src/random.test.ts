import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fillRandom } from './random.ts';

test('it fills all of an array of any length, and gives nothing twice', () => {
  const seen = new Set<string>();
  for (let length = 8; length <= 200; length++) {
    const bytes = fillRandom(new Uint8Array(length));
    assert.equal(bytes.length, length);
    for (let at = 0; at + 8 <= length; at += 8) seen.add(bytes.subarray(at, at + 8).join());
  }
  const pieces = Array.from({ length: 193 }, (_, i) => Math.floor((i + 8) / 8)).reduce((a, b) => a + b, 0);
  assert.equal(seen.size, pieces);
  assert.throws(() => fillRandom(new Uint8Array(2000)), RangeError);
});
