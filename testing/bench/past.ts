/** The state at any moment, and a fork there: over a log of 100,000 events, and over one ten times as long. */
import { randomInt } from 'node:crypto';
import { type AtollTarget, startAtollTarget } from './atoll-target.ts';
import { figureOf, median, percentile, takePairs, timed } from './pairs.ts';
import { atMost, both, type Measure, row, within } from './row.ts';

const EVENTS = 100_000;
const TURN_EVENTS = 10_000;
const LOOKS = 100;
const FORKS = 20;

export const past: Measure = {
  name: 'past',
  what: `state at any seq or time, and forks, of logs of ${EVENTS} events and of ten times as many`,
  async take({ pairs: count, quick }) {
    await using atoll = await startAtollTarget({ sessions: 2 });
    await fill(atoll, 0, EVENTS);
    await fill(atoll, 1, EVENTS * 10);
    const rounds = async (take: (session: number) => Promise<number>) => {
      await take(0);
      const pairs = await takePairs(
        quick ? 3 : count,
        () => take(1),
        () => take(0),
      );
      return figureOf(pairs, (ms) => ms);
    };
    const byLook = await rounds((session) => lookRound(atoll, session));
    const byFork = await rounds((session) => forkRound(atoll, session));
    const same = atMost(1.5);
    return [
      row('state of 1,000,000 events beside 100,000, p95', 'ms', byLook, { bar: both(within(20), same) }),
      row('fork of 1,000,000 events beside 100,000, p50', 'ms', byFork, { bar: both(within(20), same) }),
    ];
  },
};

async function fill({ client, sessionIds }: AtollTarget, session: number, events: number): Promise<void> {
  const id = sessionIds[session] ?? '';
  for (let left = events; left > 0; left -= TURN_EVENTS) {
    const turn = client.send(id, { content: `emit ${TURN_EVENTS}` });
    for await (const _ of turn);
  }
}

/** Half of the looks are by seq, half by time. */
async function lookRound({ client, sessionIds }: AtollTarget, session: number): Promise<number> {
  const sessionId = sessionIds[session] ?? '';
  const { session: shown } = await client.call('session.show', { sessionId });
  const [first, last] = [Date.parse(shown.createdAt), Date.parse(shown.updatedAt)];
  const times: number[] = [];
  for (let i = 0; i < LOOKS; i++) {
    const at = i % 2 === 0 ? randomInt(1, shown.lastSeq) : new Date(randomInt(first, last)).toISOString();
    times.push(await timed(() => client.call('session.state', { sessionId, at })));
  }
  return percentile(times, 95);
}

async function forkRound({ client, sessionIds }: AtollTarget, session: number): Promise<number> {
  const sessionId = sessionIds[session] ?? '';
  const { session: shown } = await client.call('session.show', { sessionId });
  const times: number[] = [];
  for (let i = 0; i < FORKS; i++) {
    const at = randomInt(1, shown.lastSeq);
    times.push(await timed(() => client.call('session.fork', { sessionId, at })));
  }
  return median(times);
}
