import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { createPace } from './pace.ts';

let nowMs = 0;
beforeEach(() => {
  nowMs = 1_000_000;
  mock.method(performance, 'now', () => nowMs);
});
afterEach(() => mock.restoreAll());

const open = () => createPace({ quietMs: 200, maxHoldMs: 2_000 });

test('there is time while nobody needs the machine, and a moment after somebody did', () => {
  const pace = open();
  assert.equal(pace.waitMs(), 0);
  const done = pace.begin();
  assert.equal(pace.waitMs(), 200);
  nowMs += 500;
  assert.equal(pace.waitMs(), 200, 'it goes on');
  done();
  assert.equal(pace.waitMs(), 200);
  nowMs += 150;
  assert.equal(pace.waitMs(), 50);
  nowMs += 50;
  assert.equal(pace.waitMs(), 0);
});

test('a flow holds it up so long and no longer, and the next flow as long again', () => {
  const pace = open();
  const flow = (ms: number) => {
    for (const end = nowMs + ms; nowMs < end; nowMs += 100) pace.begin()();
  };
  flow(1_900);
  assert.equal(pace.waitMs(), 100);
  flow(100);
  assert.equal(pace.waitMs(), 0, 'from now on beside the flow');
  flow(5_000);
  assert.equal(pace.waitMs(), 0);
  nowMs += 200;
  pace.begin()();
  assert.equal(pace.waitMs(), 200);
});
