/** What a runner in a process of its own costs, over each link: the same agent, beside one whose runner is in the server. */
import { startAtollTarget } from './atoll-target.ts';
import { figureOf, median, takePairs } from './pairs.ts';
import { startReader } from './reader.ts';
import { atLeast, atMostMore, type Measure, type Row, row } from './row.ts';
import { createTimedClient } from './stream-times.ts';
import type { Target } from './target.ts';

const EVENTS = 100_000;
const TURNS = 100;
/** What a turn may take longer over the link. */
const MAX_ADDED_MS = 1;

export const links: Measure = {
  name: 'links',
  what: `${EVENTS} messages in one turn, and a turn of one message, over each link; the floor is the local one`,
  async take({ pairs: count }) {
    await using reader = startReader();
    await using http = await startAtollTarget({ sessions: 1, link: 'http' });
    await using grpc = await startAtollTarget({ sessions: 1, link: 'grpc' });
    await using local = await startAtollTarget({ sessions: 1 });
    const flood = (target: Target) => async () => {
      const { ms } = await reader.read([target.turn(0, `emit ${EVENTS}`)]);
      return (EVENTS * 1000) / ms;
    };
    using client = createTimedClient();
    const turns = (target: Target) => async () => {
      const times: number[] = [];
      for (let i = 0; i < TURNS; i++) times.push((await client.stream(target.turn(0, 'hello'))).done);
      return median(times);
    };
    const rows: Row[] = [];
    for (const [link, target] of [
      ['HTTP', http],
      ['gRPC', grpc],
    ] as const) {
      const name = (what: string) => `${what}, ${link} link`;
      const floods = await warmPairs(count, flood(target), flood(local));
      rows.push(row(name('one session'), 'events/s', floods, { bar: atLeast(0.6) }));
      const single = await warmPairs(count, turns(target), turns(local));
      rows.push(row(name('one-message turn'), 'ms', single, { bar: atMostMore(MAX_ADDED_MS, 'ms') }));
    }
    return rows;
  },
};

async function warmPairs(count: number, ours: () => Promise<number>, floor: () => Promise<number>) {
  for (const warm of [ours, floor]) await warm();
  return figureOf(await takePairs(count, ours, floor), (figure) => figure);
}
