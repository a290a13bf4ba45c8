/** What a client that reads one byte a second of a flood costs the server, against the same flood with a fast one. */
import { setTimeout as delay } from 'node:timers/promises';
import { type AtollTarget, startAtollTarget } from './atoll-target.ts';
import { figureOf, takePairs } from './pairs.ts';
import { rssMbOf } from './processes.ts';
import { type Reader, startReader } from './reader.ts';
import { atMostMore, type Measure, row } from './row.ts';
import { EVENTS } from './throughput.ts';

const SAMPLE_MS = 20;
/** After the turn, for what is still on its way to the slow client. */
const AFTER_MS = 1000;

export const slowReader: Measure = {
  name: 'slow-reader',
  what: `peak growth of the server's RSS in a turn of ${EVENTS} messages that is read 1 byte/s`,
  async take({ pairs: count }) {
    const flood = `emit ${EVENTS}`;
    const pairs = await takePairs(
      count,
      () => growth((atoll, reader) => reader.trickle(atoll.turn(0, flood))),
      () => growth(async (atoll, reader) => void (await reader.read([atoll.turn(0, flood)]))),
    );
    const { ours, floor } = figureOf(pairs, (mb) => mb);
    return [
      row('RSS growth, slow reader (floor: fast one)', 'MB', { ours, floor }, { bar: atMostMore(20, 'MB') }),
    ];
  },
};

/** Of a new server each time, since what one flood made it take is there for the next. */
async function growth(read: (atoll: AtollTarget, reader: Reader) => Promise<void>): Promise<number> {
  await using atoll = await startAtollTarget({ sessions: 1 });
  await using reader = startReader();
  await reader.read([atoll.turn(0, 'hello')]);
  await delay(AFTER_MS);
  const before = rssMbOf(atoll.pid);
  let peak = before;
  const sampling = setInterval(() => {
    peak = Math.max(peak, rssMbOf(atoll.pid));
  }, SAMPLE_MS);
  try {
    await read(atoll, reader);
    await untilIdle(atoll);
    await delay(AFTER_MS);
  } finally {
    clearInterval(sampling);
  }
  return peak - before;
}

async function untilIdle({ client, sessionIds: [sessionId = ''] }: AtollTarget): Promise<void> {
  for (;;) {
    const { session } = await client.call('session.show', { sessionId });
    if (session.status === 'idle') return;
    await delay(50);
  }
}
