/** A turn of one message, against a server that answers at once out of nothing. */
import { startAtollTarget } from './atoll-target.ts';
import { startFloorTarget } from './floor-target.ts';
import { figureOf, median, type Pair } from './pairs.ts';
import { atMost, type Measure, row } from './row.ts';
import { createTimedClient, type StreamTimes, type TimedClient } from './stream-times.ts';
import type { Wanted } from './target.ts';

const TURNS = 200;
const BLOCK = 20;

export const oneMessage: Measure = {
  name: 'turn',
  what: 'one message to a program agent and its answer, connection kept, p50',
  async take({ pairs: count }) {
    await using atoll = await startAtollTarget({ sessions: 1 });
    await using floor = await startFloorTarget({ sessions: 0 });
    using client = createTimedClient();
    using bare = createTimedClient();
    const turn = atoll.turn(0, 'hello');
    await takeRound(client, turn, bare, floor.reply);
    const pairs: Pair<StreamTimes>[] = [];
    for (let i = 0; i < count; i++) pairs.push(await takeRound(client, turn, bare, floor.reply));
    return [
      row(
        'one-message turn, first event',
        'ms',
        figureOf(pairs, ({ firstEvent }) => firstEvent),
      ),
      row(
        'one-message turn, agent’s message',
        'ms',
        figureOf(pairs, ({ firstMessage }) => firstMessage),
      ),
      row(
        'one-message turn, done',
        'ms',
        figureOf(pairs, ({ done }) => done),
        {
          bar: atMost(6),
          aim: atMost(4),
        },
      ),
    ];
  },
};

/** 200 turns of each, in alternating blocks. */
async function takeRound(
  client: TimedClient,
  turn: Wanted,
  bare: TimedClient,
  reply: Wanted,
): Promise<Pair<StreamTimes>> {
  const ours: StreamTimes[] = [];
  const floor: StreamTimes[] = [];
  for (let taken = 0; taken < TURNS; taken += BLOCK) {
    for (let i = 0; i < BLOCK; i++) ours.push(await client.stream(turn));
    for (let i = 0; i < BLOCK; i++) floor.push(await bare.stream(reply));
  }
  return { ours: medians(ours), floor: medians(floor) };
}

function medians(times: readonly StreamTimes[]): StreamTimes {
  return {
    firstEvent: median(times.map(({ firstEvent }) => firstEvent)),
    firstMessage: median(times.map(({ firstMessage }) => firstMessage)),
    done: median(times.map(({ done }) => done)),
  };
}
