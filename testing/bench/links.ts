/** What a runner in a process of its own costs: the same agent, beside one whose runner is in the server. */
import { startAtollTarget } from './atoll-target.ts';
import { figureOf, median, takePairs } from './pairs.ts';
import { startReader } from './reader.ts';
import { atLeast, atMostMore, type Measure, row } from './row.ts';
import { createTimedClient } from './stream-times.ts';
import type { Target } from './target.ts';

const EVENTS = 100_000;
const TURNS = 100;
/** What a turn may take longer over the link. */
const MAX_ADDED_MS = 1;

export const links: Measure = {
  name: 'links',
  what: `${EVENTS} messages in one turn, and a turn of one message, over the HTTP link; the floor is the local one`,
  async take({ pairs: count }) {
    await using reader = startReader();
    await using apart = await startAtollTarget({ sessions: 1, apart: true });
    await using local = await startAtollTarget({ sessions: 1 });
    const flood = (target: Target) => async () => {
      const { ms } = await reader.read([target.turn(0, `emit ${EVENTS}`)]);
      return (EVENTS * 1000) / ms;
    };
    for (const warm of [flood(apart), flood(local)]) await warm();
    const floods = await takePairs(count, flood(apart), flood(local));

    using far = createTimedClient();
    using near = createTimedClient();
    const turns = (client: typeof far, target: Target) => async () => {
      const times: number[] = [];
      for (let i = 0; i < TURNS; i++) times.push((await client.stream(target.turn(0, 'hello'))).done);
      return median(times);
    };
    const ours = turns(far, apart);
    const floor = turns(near, local);
    for (const warm of [ours, floor]) await warm();
    const single = await takePairs(count, ours, floor);
    return [
      row(
        'one session, HTTP link',
        'events/s',
        figureOf(floods, (perSecond) => perSecond),
        { bar: atLeast(0.6) },
      ),
      row(
        'one-message turn, HTTP link, done',
        'ms',
        figureOf(single, (ms) => ms),
        { bar: atMostMore(MAX_ADDED_MS, 'ms') },
      ),
    ];
  },
};
