/** A turn of one message, against a server that answers at once out of nothing. */
import { startAtollTarget } from './atoll-target.ts';
import { startFloorTarget } from './floor-target.ts';
import { figureOf, median } from './pairs.ts';
import { atMost, type Measure, row } from './row.ts';
import { createTimedClient, type StreamTimes } from './stream-times.ts';

/** `floor` answers at once; `durable` does what a durable turn cannot do without: see bare-server.ts. */
type Sides<T> = { ours: T; floor: T; durable: T };

const TURNS = 200;
const BLOCK = 20;

export const oneMessage: Measure = {
  name: 'turn',
  what: 'one message to a program agent and its answer, connection kept, p50',
  async take({ pairs: count }) {
    await using atoll = await startAtollTarget({ sessions: 1 });
    await using floor = await startFloorTarget({ sessions: 1 });
    using client = createTimedClient();
    using bare = createTimedClient();
    using durable = createTimedClient();
    const sides: Sides<() => Promise<StreamTimes>> = {
      ours: () => client.stream(atoll.turn(0, 'hello')),
      floor: () => bare.stream(floor.reply),
      durable: () => durable.stream(floor.durableTurn(0, 'hello')),
    };
    await takeRound(sides);
    const rounds: Sides<StreamTimes>[] = [];
    for (let i = 0; i < count; i++) rounds.push(await takeRound(sides));
    const ofBare = rounds;
    const ofDurable = rounds.map(({ ours, durable }) => ({ ours, floor: durable }));
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

/** 200 turns of each, in alternating blocks. */
async function takeRound(sides: Sides<() => Promise<StreamTimes>>): Promise<Sides<StreamTimes>> {
  const times: Sides<StreamTimes[]> = { ours: [], floor: [], durable: [] };
  const order = ['ours', 'floor', 'durable'] as const;
  for (let taken = 0; taken < TURNS; taken += BLOCK)
    for (const side of order) for (let i = 0; i < BLOCK; i++) times[side].push(await sides[side]());
  return { ours: medians(times.ours), floor: medians(times.floor), durable: medians(times.durable) };
}

function medians(times: readonly StreamTimes[]): StreamTimes {
  return {
    firstEvent: median(times.map(({ firstEvent }) => firstEvent)),
    firstMessage: median(times.map(({ firstMessage }) => firstMessage)),
    done: median(times.map(({ done }) => done)),
  };
}
