/**
 * Who iterates over which session. All readers of a session share the one subscription that a connection may have. A reader
 * whose queue is full gets no more until it has read all of it; then the subscription begins again after the last seq that
 * it saw, and the others drop what they know. So does a new worker's first one, after the old one died: each event comes
 * once, in order (I2), and what waits here is bounded (I9).
 */
import { AtollError } from '@atoll/protocol/errors';
import type { StreamEvent } from '../stream-event.ts';
import { WorkerGone } from './errors.ts';
import type { Link } from './link.ts';

const MAX_EVENTS = 4096;
const MAX_CHARS = 4 * 1024 * 1024;

export type Feeds = {
  read(sessionId: string, after: number, signal: AbortSignal | undefined): AsyncGenerator<StreamEvent>;
  onEvent(sessionId: string, event: StreamEvent): void;
  onUnsubscribed(sessionId: string, error: Error | undefined): void;
  /** A worker is there, or there is none. */
  setLink(link: Link | undefined): void;
  /** Ends every reader. */
  close(reason: Error): void;
};

/**
 * waiting: for the answer to a subscription. following: gets what comes. behind: has more than enough to read.
 * over: nothing comes after what is queued.
 */
type Reader = {
  phase: 'waiting' | 'following' | 'behind' | 'over';
  error?: Error | undefined;
  queue: StreamEvent[];
  chars: number;
  /** The seq of the last event that was queued. */
  last: number;
  wake: () => void;
};

type Feed = { readers: Set<Reader>; subscribing: boolean };

export function createFeeds(): Feeds {
  const feeds = new Map<string, Feed>();
  let link: Link | undefined;

  /** Subscribes for those who wait, as often as there are any. */
  async function subscribe(sessionId: string, feed: Feed): Promise<void> {
    if (feed.subscribing) return;
    feed.subscribing = true;
    for (let on = link; on !== undefined && some(feed, 'waiting'); on = link) {
      const wanting = [...feed.readers].filter(({ phase }) => phase === 'waiting');
      const all = [...wanting, ...[...feed.readers].filter(({ phase }) => phase === 'following')];
      const params = { sessionId, after: Math.min(...all.map(({ last }) => last)) };
      try {
        await on.call({ method: 'session.subscribe', params }, undefined, () => {
          for (const reader of wanting) if (reader.phase === 'waiting') reader.phase = 'following';
        });
      } catch (error) {
        // The next worker is asked again.
        if (isPassing(error)) break;
        for (const reader of wanting) end(reader, error as Error);
      }
    }
    feed.subscribing = false;
    unsubscribe(sessionId, feed);
  }

  /** When there is nobody left who follows. */
  function unsubscribe(sessionId: string, feed: Feed): void {
    // What is asked for already would come after all; it is looked at when it was answered.
    if (feed.subscribing || some(feed, 'waiting') || some(feed, 'following')) return;
    if (feed.readers.size === 0) feeds.delete(sessionId);
    // It may have ended by itself, or the worker may have.
    link?.call({ method: 'session.unsubscribe', params: { sessionId } }).catch(() => undefined);
  }

  async function* read(
    sessionId: string,
    after: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<StreamEvent> {
    const reader: Reader = { phase: 'waiting', queue: [], chars: 0, last: after, wake: () => undefined };
    const feed = feeds.get(sessionId) ?? { readers: new Set(), subscribing: false };
    feeds.set(sessionId, feed);
    feed.readers.add(reader);
    const abort = () => end(reader);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      void subscribe(sessionId, feed);
      while (!signal?.aborted) {
        for (const event of taken(reader)) {
          yield event;
          if (signal?.aborted) return;
        }
        if (reader.queue.length > 0) continue;
        if (reader.phase === 'over') break;
        if (reader.phase === 'behind') {
          reader.phase = 'waiting';
          void subscribe(sessionId, feed);
        }
        await new Promise<void>((resolve) => {
          reader.wake = resolve;
        });
      }
      if (!signal?.aborted && reader.error) throw reader.error;
    } finally {
      signal?.removeEventListener('abort', abort);
      reader.phase = 'over';
      feed.readers.delete(reader);
      unsubscribe(sessionId, feed);
    }
  }

  return {
    read,
    onEvent(sessionId, event) {
      const feed = feeds.get(sessionId);
      const { seq = 0 } = event;
      if (!feed) return;
      for (const reader of feed.readers) {
        if (reader.phase !== 'following' || seq <= reader.last) continue;
        reader.queue.push(event);
        reader.chars += event.text.length;
        reader.last = seq;
        reader.wake();
        if (reader.queue.length < MAX_EVENTS && reader.chars < MAX_CHARS) continue;
        reader.phase = 'behind';
        unsubscribe(sessionId, feed);
      }
    },
    onUnsubscribed(sessionId, error) {
      for (const reader of feeds.get(sessionId)?.readers ?? []) {
        if (reader.phase !== 'following') continue;
        if (error && isPassing(error)) reader.phase = 'waiting';
        else end(reader, error);
      }
    },
    setLink(to) {
      link = to;
      for (const [sessionId, feed] of feeds) {
        for (const reader of feed.readers) if (reader.phase === 'following') reader.phase = 'waiting';
        if (link) void subscribe(sessionId, feed);
      }
    },
    close(reason) {
      link = undefined;
      for (const { readers } of feeds.values()) for (const reader of readers) end(reader, reason);
    },
  };
}

/** What is queued, in order; what comes meanwhile is queued again. */
function* taken(reader: Reader): Generator<StreamEvent> {
  const batch = reader.queue;
  reader.queue = [];
  for (const event of batch) {
    reader.chars -= event.text.length;
    yield event;
  }
}

function end(reader: Reader, error?: Error): void {
  if (reader.phase === 'over') return;
  reader.phase = 'over';
  reader.error = error;
  reader.wake();
}

function some({ readers }: Feed, phase: Reader['phase']): boolean {
  return [...readers].some((reader) => reader.phase === phase);
}

/** What the next worker will not say. */
function isPassing(error: unknown): boolean {
  return error instanceof WorkerGone || (error instanceof AtollError && error.code === 'shutting_down');
}
