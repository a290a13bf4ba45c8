/** A session whose sandbox was made ahead: one after the other, and as many at once as there are. */
import http from 'node:http';
import { type Atoll, deploy, startAtoll, until } from '../atoll.ts';
import { startFloorTarget } from './floor-target.ts';
import { figureOf, median, percentile, takePairs, timed } from './pairs.ts';
import { send } from './request.ts';
import { type Measure, row, within } from './row.ts';
import { type Wanted, wantedSession } from './target.ts';
import { AGENT, folderOf } from './target-agent.ts';

const POOL = 50;
const FILLED_MS = 120_000;
export const claim: Measure = {
  name: 'claim',
  what: `POST /api/sessions for an agent with \`prewarm\`: ${POOL} after each other, and ${POOL} at once`,
  async take({ pairs: count }) {
    await using atoll = await startAtoll({ args: ['--capacity', String(2 * POOL)] });
    await using floor = await startFloorTarget({ sessions: 1 });
    using connections = new Connections();
    await deploy(atoll.client, AGENT, folderOf({ prewarm: POOL }));
    const ours = (times: number, atOnce: boolean) =>
      ofFullPool(atoll, () => take(connections, claimOf(atoll), { times, atOnce }));
    const bare = (times: number, atOnce: boolean) =>
      take(connections, floor.durableTurn(0, 'hello'), { times, atOnce });
    // A server that has not run this before compiles it in the first.
    await ours(5, false);
    const single = await takePairs(
      count,
      () => ours(POOL, false),
      () => bare(POOL, false),
    );
    const burst = await takePairs(
      count,
      () => ours(POOL, true),
      () => bare(POOL, false),
    );
    const p99 = {
      ours: percentile(
        single.flatMap((pair) => pair.ours.each),
        99,
      ),
      floor: percentile(
        single.flatMap((pair) => pair.floor.each),
        99,
      ),
    };
    return [
      row(
        'claim, p50',
        'ms',
        figureOf(single, ({ each }) => median(each)),
        { bar: within(5) },
      ),
      row('claim, p99', 'ms', { ...p99, ratio: p99.ours / p99.floor }, { bar: within(25) }),
      row(
        `${POOL} claims at once`,
        'ms',
        figureOf(burst, ({ all }) => all),
        { bar: within(250) },
      ),
    ];
  },
};

type Taken = { each: number[]; all: number };

async function take(
  { agent }: Connections,
  wanted: Wanted,
  { times, atOnce }: { times: number; atOnce: boolean },
): Promise<Taken> {
  const each: number[] = [];
  const one = async () => {
    each.push(
      await timed(async () => {
        for await (const _ of await send(wanted, agent));
      }),
    );
  };
  const all = await timed(async () => {
    if (atOnce) await Promise.all(Array.from({ length: times }, one));
    else for (let i = 0; i < times; i++) await one();
  });
  return { each, all };
}

function claimOf({ url, key }: Atoll): Wanted {
  return wantedSession(`${url}/api/sessions`, { authorization: `Bearer ${key}` }, AGENT);
}

/** Every session that it makes is gone before it resolves. */
async function ofFullPool<T>({ client }: Atoll, work: () => Promise<T>): Promise<T> {
  await until(async () => (await client.call('health.show', {})).pool.warm === POOL, FILLED_MS);
  const done = await work();
  const { sessions } = await client.call('session.list', { limit: POOL });
  for (const { id } of sessions) await client.call('session.end', { sessionId: id, purge: true });
  return done;
}

/** One for each of a burst, kept. */
class Connections {
  readonly agent = new http.Agent({ keepAlive: true, maxSockets: POOL });
  [Symbol.dispose](): void {
    this.agent.destroy();
  }
}
