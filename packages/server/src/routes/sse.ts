/**
 * Writing a stream to one client. At most one chunk waits per connection: the next is asked for when the socket took
 * the last (I9). A comment goes out every 15 s of silence, from one timer for all connections.
 */
import type { ServerResponse } from 'node:http';
import { SSE_PING, SSE_RETRY } from '@atoll/protocol/sse';

const PING_MS = 15_000;
const BEGIN_MS = 10;

export type SseWriters = {
  /** Writes all of `frames` and ends the response. Never rejects: a client that left is no error. */
  write(
    response: ServerResponse,
    frames: AsyncIterable<Uint8Array>,
    onError: (error: unknown) => Uint8Array,
  ): Promise<void>;
  readonly open: number;
  stop(): void;
};

export function createSseWriters(): SseWriters {
  const open = new Set<ServerResponse>();
  const timer = setInterval(() => {
    // Whoever still has bytes to take is not silent.
    for (const response of open) if (response.writableLength === 0) response.write(SSE_PING);
  }, PING_MS);
  timer.unref();

  async function write(
    response: ServerResponse,
    frames: AsyncIterable<Uint8Array>,
    onError: (error: unknown) => Uint8Array,
  ): Promise<void> {
    open.add(response);
    const begin = beginning(response);
    try {
      response.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
      });
      for await (const chunk of frames) {
        begin();
        if (response.destroyed) return;
        if (!response.write(chunk)) await drained(response);
      }
    } catch (error) {
      begin();
      if (!response.destroyed) response.write(onError(error));
    } finally {
      begin();
      open.delete(response);
      response.end();
    }
  }

  return {
    write,
    get open() {
      return open.size;
    },
    stop() {
      clearInterval(timer);
      for (const response of open) response.destroy();
    },
  };
}

/**
 * Sends the head and what opens every stream, once: with the first frame when that comes soon, since each write may wake
 * the client.
 */
function beginning(response: ServerResponse): () => void {
  let begun = false;
  const begin = () => {
    clearTimeout(late);
    if (begun || response.destroyed) return;
    begun = true;
    response.write(SSE_RETRY);
  };
  const late = setTimeout(begin, BEGIN_MS);
  return begin;
}

/** Resolves when the socket took what was written, or is gone. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      response.off('drain', settle);
      response.off('close', settle);
      resolve();
    };
    response.on('drain', settle);
    response.on('close', settle);
  });
}
