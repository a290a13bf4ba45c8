/** How long `/health` takes while a turn floods, against a bare server that passes the same flood through. */
import { setTimeout as delay } from 'node:timers/promises';
import { startAtollTarget } from './atoll-target.ts';
import { startFloorTarget } from './floor-target.ts';
import { figureOf, percentile, takePairs } from './pairs.ts';
import { startReader } from './reader.ts';
import { atMost, either, type Measure, row } from './row.ts';
import { createTimedClient } from './stream-times.ts';
import type { Target } from './target.ts';
import { EVENTS } from './throughput.ts';

const FLOOD_MS = 3000;
const BETWEEN_MS = 3;

type Latency = { p50: number; p99: number };

export const health: Measure = {
  name: 'health',
  what: `GET /health while ${EVENTS} messages a turn come for ${FLOOD_MS / 1000} s`,
  async take({ pairs: count }) {
    await using atoll = await startAtollTarget({ sessions: 1 });
    await using floor = await startFloorTarget({ sessions: 1 });
    const pairs = await takePairs(
      count,
      () => askDuringFlood(atoll),
      () => askDuringFlood(floor),
    );
    const bar = either({ atMostMs: 25 }, atMost(2));
    return [
      row(
        '/health during a flood, p50',
        'ms',
        figureOf(pairs, ({ p50 }) => p50),
      ),
      row(
        '/health during a flood, p99',
        'ms',
        figureOf(pairs, ({ p99 }) => p99),
        { bar },
      ),
    ];
  },
};

async function askDuringFlood(target: Target): Promise<Latency> {
  await using reader = startReader();
  using client = createTimedClient();
  await reader.read([target.turn(0, 'hello')]);
  await client.get(target.health);
  let flooding = true;
  const flood = reader.read([target.turn(0, `emit ${EVENTS}`)], { repeatMs: FLOOD_MS }).finally(() => {
    flooding = false;
  });
  const times: number[] = [];
  while (flooding) {
    times.push(await client.get(target.health));
    await delay(BETWEEN_MS);
  }
  await flood;
  return { p50: percentile(times, 50), p99: percentile(times, 99) };
}
