import { createSseParser } from '@atoll/protocol/sse';
import { Unreachable, unreachable } from './errors.ts';
import { type StreamEvent, toStreamEvent } from './stream-event.ts';
import type { Timers } from './timers.ts';

/** A live server sends an event or a comment every 15 s; three missed ones mean that nobody is there any more. */
export const SILENCE_MS = 45_000;

export type ConnectionOptions = {
  url: string;
  timers: Timers;
  signal?: AbortSignal | undefined;
  /** Makes the request; must give up when its signal aborts. */
  open(signal: AbortSignal): Promise<Response>;
  /** Told of each `retry` the server sends. */
  onRetry?: (retryMs: number) => void;
};

/**
 * The events of one connection. Returns when the server ended the stream, throws Unreachable when the connection
 * broke or fell silent. Pulls: what is not taken stays in the network's buffers, and the watchdog sleeps meanwhile.
 */
export async function* readConnection(options: ConnectionOptions): AsyncGenerator<StreamEvent> {
  const { url, timers } = options;
  const given = new AbortController();
  const signal =
    options.signal === undefined ? given.signal : AbortSignal.any([options.signal, given.signal]);
  try {
    const response = await unlessSilent(options.open(signal), url, timers);
    if (response.body === null) return;
    const reader = response.body.getReader();
    const parser = createSseParser();
    for (;;) {
      const { done, value } = await unlessSilent(reader.read(), url, timers);
      if (done) return;
      for (const event of parser.push(value)) yield toStreamEvent(event);
      if (parser.retryMs !== undefined) options.onRetry?.(parser.retryMs);
    }
  } finally {
    given.abort();
  }
}

async function unlessSilent<T>(step: Promise<T>, url: string, timers: Timers): Promise<T> {
  let cancel = () => {};
  const silence = new Promise<never>((_, reject) => {
    cancel = timers.after(SILENCE_MS, () =>
      reject(new Unreachable(url, `nothing came for ${SILENCE_MS / 1000} seconds`)),
    );
  });
  try {
    return await Promise.race([step, silence]);
  } catch (error) {
    // What the server itself said stays as it is; everything else is the connection's end.
    throw error instanceof Error && error.name === 'AtollError' ? error : unreachable(url, error);
  } finally {
    cancel();
    // When silence won, the loser still rejects once the connection is given up; nobody is left to hear it.
    step.catch(() => {});
  }
}
