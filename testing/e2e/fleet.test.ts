/** Many runners on one coordinator: where sessions go, and what it costs to hear from all of them. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { deployProgram, startAtoll } from '../atoll.ts';
import { cpuMsOf } from '../bench/processes.ts';
import { type SimulatedFleet, startSimulatedFleet } from '../simulated-fleet.ts';

const RUNNERS = 40;
const SESSIONS = 200;
/**
 * 200 runners with a heartbeat every five seconds each may take 5 % of a core: 1.25 ms a heartbeat. One that follows
 * another at once costs less than one that comes alone.
 */
const MAX_CPU_MS = 0.8;

let atoll: Awaited<ReturnType<typeof startAtoll>>;
let fleet: SimulatedFleet;
before(async () => {
  atoll = await startAtoll({ args: ['--no-runner', '--grpc-port', '0'] });
  fleet = await startSimulatedFleet(atoll, {
    ...{ http: RUNNERS / 2, grpc: RUNNERS / 2, capacity: 20, heartbeatMs: 0 },
  });
  await deployProgram(atoll.client, 'still', '');
});
after(async () => {
  await fleet[Symbol.asyncDispose]();
  await atoll[Symbol.asyncDispose]();
});

test('a burst of sessions spreads evenly over all runners, of both links', { timeout: 60_000 }, async () => {
  const open = () => atoll.client.call('session.create', { agent: 'still' });
  const sessions = await Promise.all(Array.from({ length: SESSIONS }, open));
  assert.ok(sessions.every(({ session }) => session.status === 'idle'));
  const held = Object.values(await fleet.held());
  assert.deepEqual(
    [held.length, held.reduce((sum, count) => sum + count, 0)],
    [RUNNERS, SESSIONS],
    JSON.stringify(held),
  );
  const share = SESSIONS / RUNNERS;
  assert.ok(
    held.every((count) => Math.abs(count - share) <= 1),
    JSON.stringify(held),
  );
  const { runners } = await atoll.client.call('runner.list', { limit: 100 });
  assert.ok(runners.every(({ reserved }) => Math.abs(reserved - share) <= 1));
});

test('heartbeats of runners that hold sessions cost little', { timeout: 60_000 }, async () => {
  const rounds = 25;
  await fleet.beat(rounds);
  const before = cpuMsOf([atoll.pid]);
  await fleet.beat(rounds);
  const each = (cpuMsOf([atoll.pid]) - before) / (rounds * RUNNERS);
  assert.ok(each <= MAX_CPU_MS, `${each.toFixed(2)} ms of CPU for a heartbeat`);
});
