/** A bare SSE reader for tests: the bytes of the stream, cut off wherever the test wants. No reconnecting of its own. */
import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { createSseParser } from '@atoll/protocol';

export type RawEvent = { seq: number | undefined; event: string; data: string };
export type RawOptions = {
  url: string;
  key: string;
  path: string;
  headers?: Record<string, string>;
  method?: string;
  body?: unknown;
  /** Looks at each event; false ends the reading and cuts the connection. */
  onEvent: (event: RawEvent) => boolean;
  /** Waits this long after each chunk: a slow reader. */
  chunkDelayMs?: number;
};

/** Reads until the server ends the stream or `onEvent` says stop. Returns the HTTP status. */
export async function readSse(options: RawOptions): Promise<number> {
  const { url, key, path, headers = {}, method = 'GET', body, onEvent, chunkDelayMs = 0 } = options;
  const request = http.request(url + path, {
    method,
    agent: false,
    headers: {
      authorization: `Bearer ${key}`,
      accept: 'text/event-stream',
      'content-type': 'application/json',
      ...headers,
    },
  });
  request.end(body === undefined ? undefined : JSON.stringify(body));
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const parser = createSseParser();
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      for (const { hasId, lastEventId, event, data } of parser.push(chunk)) {
        if (!onEvent({ seq: hasId ? Number(lastEventId) : undefined, event, data }))
          return response.statusCode ?? 0;
      }
      if (chunkDelayMs > 0) await delay(chunkDelayMs);
    }
  } catch (error) {
    // The server went away in the middle: for a raw reader that is an end like another.
    if (!(error instanceof Error && 'code' in error && error.code === 'ECONNRESET')) throw error;
  } finally {
    request.destroy();
  }
  return response.statusCode ?? 0;
}
