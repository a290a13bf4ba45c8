import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { createDiskMeter, createWalkQueue } from './disk-usage.ts';

test('the first walk waits until the start is over, and growth is noticed before', () => {
  let temporary = 0;
  const options = {
    directories: [tmpdir()],
    limitBytes: 2 ** 50,
    temporaryBytes: () => temporary,
    pids: async () => [],
    now: () => 1000,
  };
  const meter = createDiskMeter(options, createWalkQueue());
  const due = (now: number) => meter.check(now).due;
  assert.deepEqual([due(1000), due(3900), due(4000)], [false, false, true]);
  temporary = 2 ** 50;
  assert.equal(due(1000), true);
});
