/**
 * The reconnecting reader. One loop: connect after the last seq seen, hand on what comes, and when the connection ends
 * without the stream being over, wait and do it again. Every event of the log comes once, in order (I2).
 */

import { readConnection } from './connection.ts';
import { isTransient, Unreachable } from './errors.ts';
import type { StreamEvent } from './stream-event.ts';
import { backoffMs, pause, type Timers } from './timers.ts';

const DEFAULT_RETRY_MS = 1000;

export type FollowOptions = {
  url: string;
  timers: Timers;
  signal?: AbortSignal | undefined;
  /** Consecutive failures after which the last one is thrown. Default: never gives up. */
  maxAttempts?: number | undefined;
  /** Events up to here are known already. */
  after?: number | undefined;
  /** Connects, to read what comes after `seq`. */
  open(seq: number | undefined, signal: AbortSignal): Promise<Response>;
  /** Whether nothing can follow this event. */
  isLast(event: StreamEvent): boolean;
  /** Whether a stream that the server ended properly, after this `ready`, is over. */
  isOver(ready: StreamEvent | undefined): boolean;
  /** Whether the very first connection may be retried like any other; if not, its failure is thrown. */
  retryFirst: boolean;
};

export async function* follow(options: FollowOptions): AsyncGenerator<StreamEvent> {
  const { timers, signal, maxAttempts = Number.POSITIVE_INFINITY } = options;
  const place = { seq: options.after, connected: false, failures: 0, retryMs: DEFAULT_RETRY_MS };
  while (!signal?.aborted) {
    let failure: unknown = new Unreachable(options.url, 'the server ended the stream early');
    try {
      if (yield* readUntilCut(options, place)) return;
    } catch (error) {
      if (signal?.aborted) return;
      if (!isTransient(error) || !(place.connected || options.retryFirst)) throw error;
      failure = error;
    }
    place.failures += 1;
    if (place.failures >= maxAttempts) throw failure;
    await pause(backoffMs(place.failures, place.retryMs, timers.random()), timers, signal);
  }
}

type Place = { seq: number | undefined; connected: boolean; failures: number; retryMs: number };

/** One connection's share of the stream. Returns whether the stream is over. */
async function* readUntilCut(options: FollowOptions, place: Place): AsyncGenerator<StreamEvent, boolean> {
  let ready: StreamEvent | undefined;
  const connection = readConnection({
    ...options,
    open: (signal) => options.open(place.seq, signal),
    onRetry: (retryMs) => {
      place.retryMs = retryMs;
    },
  });
  for await (const event of connection) {
    place.failures = 0;
    if (event.event === 'ready' && event.seq === undefined) {
      ready = event;
      if (place.connected) continue;
    }
    place.connected = true;
    if (event.seq !== undefined) {
      if (place.seq !== undefined && event.seq <= place.seq) continue;
      place.seq = event.seq;
    }
    yield event;
    if (options.isLast(event)) return true;
  }
  return options.isOver(ready);
}
