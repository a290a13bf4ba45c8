import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COME_MS, createUnanswered } from './unanswered.ts';

function start() {
  const clock = { nowMs: 0 };
  return { clock, unanswered: createUnanswered<string>(() => clock.nowMs) };
}

test('however much was told, the next stream tells it again, about each thing the last of it', () => {
  const { unanswered } = start();
  const all = Array.from({ length: 5_000 }, (_, i) => `${i}`);
  for (const about of all) unanswered.add(about, `first ${about}`);
  for (const about of all) unanswered.add(about, `last ${about}`);
  const expected = all.map((about) => `last ${about}`);
  assert.deepEqual(unanswered.again(), expected);
  assert.deepEqual(unanswered.again(), expected, 'that stream may break as well');
});

test('what must have come is forgotten', () => {
  const { clock, unanswered } = start();
  unanswered.add('a', 'a');
  clock.nowMs += COME_MS;
  unanswered.add('b', 'b');
  assert.deepEqual(unanswered.again(), ['a', 'b']);
  clock.nowMs += COME_MS;
  unanswered.add('c', 'c');
  assert.deepEqual(unanswered.again(), ['a', 'b', 'c'], 'told again, it may have been lost again');
  clock.nowMs += COME_MS + 1;
  unanswered.add('d', 'd');
  assert.deepEqual(unanswered.again(), ['d']);
});
