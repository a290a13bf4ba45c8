/** Durable events per second to an SSE client, and what an event costs in CPU time. */
import { startAtollTarget } from './atoll-target.ts';
import { startFloorTarget } from './floor-target.ts';
import { figureOf, median, takePairs } from './pairs.ts';
import { cpuMsOf, treeOf } from './processes.ts';
import { type Reader, startReader } from './reader.ts';
import { atLeast, type Measure, row } from './row.ts';
import type { Target } from './target.ts';

export const EVENTS = 100_000;
const MESSAGE_BYTES = 250;
const SESSIONS = 10;
const EVENTS_OF_EACH = 20_000;

type Flood = { perSecond: number; serverUs: number; treeUs: number };

export const throughput: Measure = {
  name: 'throughput',
  what: `${EVENTS} messages of ${MESSAGE_BYTES} bytes in one turn; ${SESSIONS} turns at once; CPU per event`,
  async take({ pairs }) {
    await using reader = startReader();
    await using atoll = await startAtollTarget({ sessions: SESSIONS });
    await using floor = await startFloorTarget({ sessions: SESSIONS });
    const one = (target: Target) => () => flood(reader, target, 1, EVENTS);
    const ten = (target: Target) => () => flood(reader, target, SESSIONS, EVENTS_OF_EACH);
    for (const warm of [one(atoll), one(floor), ten(atoll), ten(floor)]) await warm();

    const singles = await takePairs(pairs, one(atoll), one(floor));
    const tens = await takePairs(pairs, ten(atoll), ten(floor));
    const single = figureOf(singles, ({ perSecond }) => perSecond);
    const together = figureOf(tens, ({ perSecond }) => perSecond);
    const alone = singles.map(({ ours }) => ours.perSecond);
    const scaling = tens.map(({ ours }, i) => ours.perSecond / (alone[i] ?? Number.NaN));
    return [
      row('one session', 'events/s', single, { bar: atLeast(0.5), aim: atLeast(0.7) }),
      row('ten sessions together', 'events/s', together),
      row(
        'ten sessions, the floor being one of ours',
        'events/s',
        { ours: together.ours, floor: single.ours, ratio: median(scaling) },
        { bar: atLeast(1) },
      ),
      row(
        'CPU per event, server',
        'µs',
        figureOf(singles, ({ serverUs }) => serverUs),
      ),
      row(
        'CPU per event, with bridge and agent',
        'µs',
        figureOf(singles, ({ treeUs }) => treeUs),
      ),
    ];
  },
};

async function flood(reader: Reader, target: Target, sessions: number, events: number): Promise<Flood> {
  const tree = treeOf(target.pid);
  const before = { server: cpuMsOf([target.pid]), tree: cpuMsOf(tree) };
  const wanted = Array.from({ length: sessions }, (_, i) => target.turn(i, `emit ${events}`));
  const { bytes, ms } = await reader.read(wanted);
  const all = sessions * events;
  if (bytes < all * MESSAGE_BYTES) throw new Error(`${bytes} bytes are fewer than ${all} messages have`);
  const perEvent = (cpuMs: number) => (cpuMs * 1000) / all;
  return {
    perSecond: (all * 1000) / ms,
    serverUs: perEvent(cpuMsOf([target.pid]) - before.server),
    treeUs: perEvent(cpuMsOf(tree) - before.tree),
  };
}
