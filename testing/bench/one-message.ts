/** A turn of one message, against a server that answers at once out of nothing. */
import { startAtollTarget } from './atoll-target.ts';
import { startFloorTarget } from './floor-target.ts';
import { figureOf, median, type Pair, takeBlocks } from './pairs.ts';
import { atMost, type Measure, row } from './row.ts';
import { createTimedClient, type StreamTimes } from './stream-times.ts';

const TURNS = 200;

export const oneMessage: Measure = {
  name: 'turn',
  what: 'one message to a program agent and its answer, connection kept, p50',
  async take({ pairs: count }) {
    await using atoll = await startAtollTarget({ sessions: 1 });
    await using floor = await startFloorTarget({ sessions: 0 });
    await using durableFloor = await startFloorTarget({ sessions: 1 });
    using client = createTimedClient();
    using bare = createTimedClient();
    using durable = createTimedClient();
    const ours = () => client.stream(atoll.turn(0, 'hello'));
    const ofBare = await takeRounds(count, ours, () => bare.stream(floor.reply));
    const ofDurable = await takeRounds(count, ours, () =>
      durable.stream(durableFloor.durableTurn(0, 'hello')),
    );
    return [
      row(
        'one-message turn, first event',
        'ms',
        figureOf(ofBare, ({ firstEvent }) => firstEvent),
      ),
      row(
        'one-message turn, agent’s message',
        'ms',
        figureOf(ofBare, ({ firstMessage }) => firstMessage),
      ),
      row(
        'one-message turn, done',
        'ms',
        figureOf(ofBare, ({ done }) => done),
        {
          bar: atMost(6),
          aim: atMost(4),
        },
      ),
      row(
        'one-message turn, done, the floor being two fdatasyncs and the agent',
        'ms',
        figureOf(ofDurable, ({ done }) => done),
      ),
    ];
  },
};

type Turn = () => Promise<StreamTimes>;

/** One round to warm up, then so many. */
async function takeRounds(count: number, ours: Turn, floor: Turn): Promise<Pair<StreamTimes>[]> {
  const rounds: Pair<StreamTimes>[] = [];
  for (let i = 0; i <= count; i++) rounds.push(await takeRound(ours, floor));
  return rounds.slice(1);
}

/** 200 turns of each, in alternating blocks. */
async function takeRound(ours: Turn, floor: Turn): Promise<Pair<StreamTimes>> {
  const times = await takeBlocks(TURNS, ours, floor);
  return { ours: medians(times.ours), floor: medians(times.floor) };
}

function medians(times: readonly StreamTimes[]): StreamTimes {
  return {
    firstEvent: median(times.map(({ firstEvent }) => firstEvent)),
    firstMessage: median(times.map(({ firstMessage }) => firstMessage)),
    done: median(times.map(({ done }) => done)),
  };
}
