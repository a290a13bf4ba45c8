import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import type { AccessReport } from '@atoll/protocol/runner-link';
import type { AccessRecord } from '@atoll/protocol/schemas/access';
import { createAccessLog } from './access-log.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };

function record(port: number): AccessRecord {
  return {
    time: '2026-01-01T00:00:00.000Z',
    via: 'egress',
    method: 'GET',
    host: 'one.example',
    port,
    decision: 'allowed',
    sentBytes: 0,
    receivedBytes: 0,
    durationMs: 1,
  };
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

test('what is added arrives in order, in bounded batches, and is there when it is closed', async () => {
  const batches: number[][] = [];
  const log = createAccessLog({
    send: async ({ records, dropped }) => {
      assert.equal(dropped, 0);
      batches.push(records.map(({ port }) => port));
    },
    logger: silent,
  });
  for (const n of numbers(250)) log.add(record(n));
  await log.close();
  assert.deepEqual(batches.flat(), numbers(250));
  assert.deepEqual(
    batches.map(({ length }) => length),
    [1, 100, 100, 49],
  );
});

test('more than it holds is counted, and said', async () => {
  const go = Promise.withResolvers<void>();
  const sent: Pick<AccessReport, 'records' | 'dropped'>[] = [];
  const log = createAccessLog({
    async send(report) {
      sent.push(report);
      await go.promise;
    },
    logger: silent,
    pauseMs: 1,
  });
  for (const n of numbers(5000)) log.add(record(n));
  go.resolve();
  await log.close();
  const kept = sent.reduce((sum, { records }) => sum + records.length, 0);
  const dropped = sent.reduce((sum, report) => sum + report.dropped, 0);
  assert.equal(kept, 1001, 'one was under way');
  assert.equal(kept + dropped, 5000);
});

test('what could not be written is counted with what comes later', async () => {
  const sent: [records: number, dropped: number][] = [];
  const failed = Promise.withResolvers<void>();
  const log = createAccessLog({
    async send({ records, dropped }) {
      sent.push([records.length, dropped]);
      if (sent.length > 1) return;
      failed.resolve();
      throw new AtollError('storage_failed');
    },
    logger: silent,
    pauseMs: 1,
  });
  log.add(record(1));
  await failed.promise;
  log.add(record(2));
  await log.close();
  assert.deepEqual(sent, [
    [1, 0],
    [1, 1],
  ]);
});

test('an assignment that is over is told no more', async () => {
  let asked = 0;
  const log = createAccessLog({
    async send() {
      asked++;
      throw new AtollError('stale_epoch');
    },
    logger: silent,
    pauseMs: 1,
  });
  log.add(record(1));
  await log.close();
  log.add(record(2));
  await log.close();
  assert.equal(asked, 1);
});
