import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as settled } from 'node:timers/promises';
import { createRenewed, type TimedToken } from './renewed.ts';

function setUp() {
  const clock = { nowMs: 1_000_000 };
  const asked: PromiseWithResolvers<TimedToken>[] = [];
  const warned: string[] = [];
  const log = () => undefined;
  const source = createRenewed({
    obtain() {
      const asking = Promise.withResolvers<TimedToken>();
      asked.push(asking);
      return asking.promise;
    },
    now: () => clock.nowMs,
    logger: { debug: log, info: log, error: log, warn: (_fields, message) => void warned.push(message) },
  });
  const give = (token: string, lifetimeMs: number) =>
    asked.at(-1)?.resolve({ token, expiresAtMs: clock.nowMs + lifetimeMs });
  return { clock, asked, warned, source, give };
}

async function holding(lifetimeMs: number) {
  const all = setUp();
  const first = all.source.token();
  all.give('one', lifetimeMs);
  assert.equal(await first, 'one');
  return all;
}

test('any number of callers share one request, and its failure', async () => {
  const { source, asked, give } = setUp();
  const failing = Promise.allSettled([source.token(), source.token()]);
  asked[0]?.reject(new Error('down'));
  assert.deepEqual(
    (await failing).map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  const all = Promise.all(Array.from({ length: 10 }, () => source.token()));
  give('one', 60_000);
  assert.deepEqual(new Set(await all), new Set(['one']));
  assert.equal(asked.length, 2);
});

test('it is renewed before its end, once, and nobody waits for that', async () => {
  const { source, asked, clock, give } = await holding(600_000);
  clock.nowMs += 539_999;
  assert.equal(await source.token(), 'one');
  assert.equal(asked.length, 1);
  clock.nowMs += 1;
  assert.deepEqual(await Promise.all([source.token(), source.token()]), ['one', 'one']);
  assert.equal(asked.length, 2);
  give('two', 600_000);
  await settled();
  assert.equal(await source.token(), 'two');
  assert.equal(asked.length, 2);
});

test('a short one is renewed in its last quarter', async () => {
  const { source, asked, clock } = await holding(60_000);
  clock.nowMs += 44_999;
  await source.token();
  assert.equal(asked.length, 1);
  clock.nowMs += 1;
  await source.token();
  assert.equal(asked.length, 2);
});

test('one that cannot be renewed is kept to its end, and not past it', async () => {
  const { source, asked, clock, warned, give } = await holding(600_000);
  clock.nowMs += 540_000;
  assert.equal(await source.token(), 'one');
  asked[1]?.reject(new Error('down'));
  await settled();
  assert.equal(warned.length, 1);
  clock.nowMs += 4999;
  assert.equal(await source.token(), 'one');
  assert.equal(asked.length, 2, 'not with every call');
  clock.nowMs += 1;
  assert.equal(await source.token(), 'one');
  assert.equal(asked.length, 3);
  asked[2]?.reject(new Error('down'));
  await settled();
  clock.nowMs = 1_000_000 + 600_000;
  const late = source.token();
  asked[3]?.reject(new Error('still down'));
  await assert.rejects(late, /still down/);
  const back = source.token();
  give('two', 600_000);
  assert.equal(await back, 'two');
});

test('one that was turned down is not given again', async () => {
  const { source, asked, give } = await holding(600_000);
  assert.equal(await source.token('zero'), 'one');
  const other = Promise.all([source.token('one'), source.token('one')]);
  give('two', 600_000);
  assert.deepEqual(await other, ['two', 'two']);
  assert.equal(await source.token('one'), 'two');
  assert.equal(asked.length, 2);
});
