/** What a fleet costs its coordinator while nothing happens: heartbeats of many runners that hold many sessions. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Atoll, deploy, startAtoll } from '../atoll.ts';
import { startSimulatedFleet } from '../simulated-fleet.ts';
import { figureOf, type Pair, timed } from './pairs.ts';
import { cpuMsOf } from './processes.ts';
import { type Measure, row, within } from './row.ts';
import { AGENT, folderOf } from './target-agent.ts';

const RUNNERS = 200;
const SESSIONS = 2_000;
/** Who opens them at the same time. */
const CLIENTS = 20;
const HEARTBEAT_MS = 5_000;
const WINDOW_MS = 20_000;
const SETTLE_MS = 2_000;

export const fleet: Measure = {
  name: 'fleet',
  what: `CPU of a coordinator with ${RUNNERS} runners that hold ${SESSIONS} sessions, over ${WINDOW_MS / 1000} s`,
  async take({ pairs: count }) {
    await using idle = await startAtoll({ args: ['--no-runner', '--grpc-port', '0'] });
    await using atoll = await startAtoll({ args: ['--no-runner', '--grpc-port', '0'] });
    await deploy(atoll.client, AGENT, folderOf());
    const each = { http: RUNNERS / 2, grpc: RUNNERS / 2, capacity: (2 * SESSIONS) / RUNNERS };
    await using runners = await startSimulatedFleet(atoll, { ...each, heartbeatMs: HEARTBEAT_MS });
    const ms = await timed(() => openAll(atoll));
    refuseUneven(await runners.held());
    await delay(SETTLE_MS);
    const pairs: Pair<number>[] = [];
    for (let i = 0; i < count; i++) pairs.push(await shareOfCore(atoll, idle));
    const cpu = figureOf(pairs, (percent) => percent);
    return [
      row(`${SESSIONS} sessions placed on ${RUNNERS} runners`, '/s', { ours: (SESSIONS * 1000) / ms }),
      row(`CPU of a coordinator of ${RUNNERS} runners with ${SESSIONS} sessions`, '%', cpu, {
        bar: within(5, '%'),
      }),
    ];
  },
};

async function openAll({ client }: Atoll): Promise<void> {
  let left = SESSIONS;
  const open = async () => {
    while (left-- > 0) await client.call('session.create', { agent: AGENT });
  };
  await Promise.all(Array.from({ length: CLIENTS }, open));
}

function refuseUneven(held: Record<string, number>): void {
  const counts = Object.values(held);
  const share = SESSIONS / RUNNERS;
  if (counts.length === RUNNERS && counts.every((count) => Math.abs(count - share) <= 1)) return;
  throw new Error(`not ${share} sandboxes, one more or less, on each runner: ${JSON.stringify(held)}`);
}

/** Of one core, in percent; both over the same time. */
async function shareOfCore(ours: Atoll, idle: Atoll): Promise<Pair<number>> {
  const cpu = () => [ours, idle].map(({ pid }) => cpuMsOf([pid]));
  const before = cpu();
  const ms = await timed(() => delay(WINDOW_MS));
  const [busy = 0, still = 0] = cpu().map((after, i) => (100 * (after - (before[i] ?? 0))) / ms);
  return { ours: busy, floor: still };
}
