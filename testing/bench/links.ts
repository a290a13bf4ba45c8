/** What a runner in a process of its own costs, over each link: the same agent, beside one whose runner is in the server. */
import { type AtollTarget, startAtollTarget } from './atoll-target.ts';
import { figureOf, median, type Pair, takeBlocks, takePairs } from './pairs.ts';
import { type Reader, startReader } from './reader.ts';
import { atLeast, atMostMore, type Measure, type Row, row } from './row.ts';
import { createTimedClient, type TimedClient } from './stream-times.ts';

const EVENTS = 100_000;
const TURNS = 200;
/** What a turn may take longer over the link. */
const MAX_ADDED_MS = 1;
/** Before anything counts: three processes have to compile what runs often, where the floor has two. */
const WARM = { floods: 5, turns: 500 };

export const links: Measure = {
  name: 'links',
  what: `a turn of one message, and ${EVENTS} messages in one, over each link; the floor is the local one`,
  async take({ pairs: count }) {
    await using reader = startReader();
    await using local = await startAtollTarget({ sessions: 1 });
    using client = createTimedClient();
    const rows: Row[] = [];
    for (const [link, name] of [
      ['http', 'HTTP link'],
      ['grpc', 'gRPC link'],
    ] as const) {
      await using ours = await startAtollTarget({ sessions: 1, link });
      const of = { ours, floor: local };
      const turns = figureOf(await takeTurns(client, of, count), (ms) => ms);
      rows.push(row(`one-message turn, ${name}`, 'ms', turns, { bar: atMostMore(MAX_ADDED_MS, 'ms') }));
      const floods = figureOf(await takeFloods(reader, of, count), (rate) => rate);
      rows.push(row(`one session, ${name}`, 'events/s', floods, { bar: atLeast(0.6) }));
    }
    return rows;
  },
};

/** Medians of turns in alternating blocks, in ms. */
async function takeTurns(client: TimedClient, of: Pair<AtollTarget>, count: number): Promise<Pair<number>[]> {
  const pairs: Pair<number>[] = [];
  await takeRound(client, of, WARM.turns);
  for (let i = 0; i < count; i++) pairs.push(await takeRound(client, of, TURNS));
  return pairs;
}

async function takeRound(client: TimedClient, of: Pair<AtollTarget>, turns: number): Promise<Pair<number>> {
  const turn = (target: AtollTarget) => async () => (await client.stream(target.turn(0, 'hello'))).done;
  const times = await takeBlocks(turns, turn(of.ours), turn(of.floor));
  return { ours: median(times.ours), floor: median(times.floor) };
}

/** Events a second. */
async function takeFloods(
  reader: Reader,
  { ours, floor }: Pair<AtollTarget>,
  count: number,
): Promise<Pair<number>[]> {
  const flood = (target: AtollTarget) => async () => {
    const { ms } = await reader.read([target.turn(0, `emit ${EVENTS}`)]);
    return (EVENTS * 1000) / ms;
  };
  await takePairs(WARM.floods, flood(ours), flood(floor));
  return takePairs(count, flood(ours), flood(floor));
}
