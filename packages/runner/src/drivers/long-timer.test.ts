import assert from 'node:assert/strict';
import { test } from 'node:test';
import { after } from './long-timer.ts';

test('a wait longer than a timer can hold ends when it should, or when it is stopped', ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const longest = 2 ** 31 - 1;
  let runs = 0;
  after(longest + 10, () => runs++);
  after(longest + 10, () => runs++);
  const stop = after(longest + 10, () => assert.fail('it was stopped'));
  mock.timers.tick(longest);
  stop();
  mock.timers.tick(9);
  assert.equal(runs, 0);
  mock.timers.tick(1);
  assert.equal(runs, 2);
});
