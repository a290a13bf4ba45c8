/** What server and sandboxes hold in memory. The floor of a sandbox is a bare bridge with its agent. */
import { setTimeout as delay } from 'node:timers/promises';
import { startAtollTarget } from './atoll-target.ts';
import { startFloorTarget } from './floor-target.ts';
import { figureOf, type Pair } from './pairs.ts';
import { pssMbOf, rssMbOf, treeOf } from './processes.ts';
import { startReader } from './reader.ts';
import { type Measure, row } from './row.ts';
import type { Target } from './target.ts';
import { EVENTS } from './throughput.ts';

const SESSIONS = 10;
/** For what a start or a turn leaves to be tidied. */
const SETTLE_MS = 1000;
/** Memory hardly varies, and each pair starts twenty sandboxes. */
const MAX_PAIRS = 3;

type Memory = { idle: number; busy: number; flooded: number; sandbox: number };

export const memory: Measure = {
  name: 'memory',
  what: `RSS of the server; PSS of each of ${SESSIONS} sandboxes`,
  async take({ pairs: count }) {
    const pairs: Pair<Memory>[] = [];
    for (let i = 0; i < Math.min(count, MAX_PAIRS); i++) {
      const floor = await weigh(startFloorTarget);
      pairs.push({ ours: await weigh(startAtollTarget), floor });
    }
    return [
      row(
        'server RSS, idle',
        'MB',
        figureOf(pairs, ({ idle }) => idle),
      ),
      row(
        `server RSS, ${SESSIONS} sessions`,
        'MB',
        figureOf(pairs, ({ busy }) => busy),
      ),
      row(
        'server RSS, after a flood',
        'MB',
        figureOf(pairs, ({ flooded }) => flooded),
      ),
      row(
        'PSS of a sandbox',
        'MB',
        figureOf(pairs, ({ sandbox }) => sandbox),
      ),
    ];
  },
};

async function weigh(open: (options: { sessions: number }) => Promise<Target>): Promise<Memory> {
  const idle = await withTarget(open, 0, async (target) => rssMbOf(target.pid));
  const rest = await withTarget(open, SESSIONS, async (target) => {
    await using reader = startReader();
    for (let i = 0; i < SESSIONS; i++) await reader.read([target.turn(i, 'hello')]);
    const busy = rssMbOf(target.pid);
    const sandbox = pssMbOf(treeOf(target.pid).filter((pid) => pid !== target.pid)) / SESSIONS;
    await reader.read([target.turn(0, `emit ${EVENTS}`)]);
    await delay(SETTLE_MS);
    return { busy, sandbox, flooded: rssMbOf(target.pid) };
  });
  return { idle, ...rest };
}

async function withTarget<T>(
  open: (options: { sessions: number }) => Promise<Target>,
  sessions: number,
  work: (target: Target) => Promise<T>,
): Promise<T> {
  await using target = await open({ sessions });
  await delay(SETTLE_MS);
  // Awaited here: the target is gone when this returns.
  return await work(target);
}
