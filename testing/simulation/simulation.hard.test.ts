import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { described, judgeMany } from './many.ts';

const COUNT = 10_000;
/** Three minutes on two quiet cores; these may have other things to do. */
const MAX_MS = 4 * 60_000;
const PROCESSES = availableParallelism();

/** Another one looks at other runs. */
const from = Number(process.env.SIMULATION_SEED ?? 1);

test(`what breaks in ${COUNT} simulated runs from seed ${from}, the promises hold`, async (t) => {
  t.diagnostic(`seeds ${from} to ${from + COUNT - 1}`);
  const began = performance.now();
  const failures = await judgeMany({ from, count: COUNT }, PROCESSES);
  const ms = performance.now() - began;
  t.diagnostic(`${Math.round(ms / 1000)} s`);
  assert.deepEqual(failures.map(described), []);
  assert.ok(ms < MAX_MS, `it took ${Math.round(ms / 1000)} s`);
});
