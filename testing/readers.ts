/** Readers of a session's log up to its first `done`, each awkward in its own way. */
import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Atoll } from './atoll.ts';
import { random } from './random.ts';
import { type RawEvent, type RawOptions, readSse } from './raw-sse.ts';

type Reading = Pick<RawOptions, 'onEvent' | 'chunkDelayMs'> & { after?: number | undefined };

/** One connection. Resolves when it ended, or `onEvent` said that it should. */
async function readLog({ url, key }: Atoll, id: string, { after, ...reading }: Reading): Promise<void> {
  const headers = after === undefined ? {} : { 'last-event-id': String(after) };
  await readSse({ url, key, path: `/api/sessions/${id}/events`, headers, ...reading });
}

/** Reads in one go, waiting after each chunk. */
export async function readWhole(atoll: Atoll, id: string, chunkDelayMs = 0): Promise<RawEvent[]> {
  const seen: RawEvent[] = [];
  await readLog(atoll, id, {
    chunkDelayMs,
    onEvent(event) {
      if (event.seq !== undefined) seen.push(event);
      return event.event !== 'done';
    },
  });
  return seen;
}

/** Is cut `cuts` times, after up to `spacing` events each, and comes back with `Last-Event-ID`; what it saw, in order. */
export async function readCut(
  atoll: Atoll,
  id: string,
  cuts: number,
  spacing: number,
): Promise<{ seen: RawEvent[]; connections: number }> {
  const next = random(42);
  const seen: RawEvent[] = [];
  let connections = 0;
  while (seen.at(-1)?.event !== 'done') {
    let left = connections < cuts ? Math.floor(next() * spacing) : Number.POSITIVE_INFINITY;
    connections++;
    await readLog(atoll, id, {
      after: seen.at(-1)?.seq,
      onEvent(event) {
        if (event.seq === undefined) return true;
        seen.push(event);
        return event.event !== 'done' && left-- > 0;
      },
    });
  }
  return { seen, connections };
}

/** Connects, and never takes a byte of the body. */
export async function stall({ url, key }: Atoll, id: string): Promise<Disposable> {
  const request = http.get(`${url}/api/sessions/${id}/events`, {
    agent: false,
    headers: { authorization: `Bearer ${key}`, accept: 'text/event-stream' },
  });
  await once(request, 'response');
  request.on('error', () => undefined);
  return { [Symbol.dispose]: () => void request.destroy() };
}

/** Reads the log up to the `done` of that turn, and comes back with `Last-Event-ID` whatever cuts it off; a server that is killed, too. */
export async function readThrough(atoll: Atoll, id: string, turnId: string): Promise<RawEvent[]> {
  const seen: RawEvent[] = [];
  const ends = ({ event, data }: RawEvent) => event === 'done' && JSON.parse(data).turnId === turnId;
  for (let over = false; !over; ) {
    await readLog(atoll, id, {
      after: seen.at(-1)?.seq,
      onEvent(event) {
        if (event.seq !== undefined) seen.push(event);
        over = ends(event);
        return !over;
      },
    }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNREFUSED' && error.code !== 'ECONNRESET') throw error;
    });
    if (!over) await delay(50);
  }
  return seen;
}
