/**
 * The sessions that one host listens to: replay after a seq, then live, as notifications. A session has one
 * subscription at most; another one takes its place.
 */
import { AtollError } from '@atoll/protocol/errors';
import { toRpcError } from '@atoll/protocol/json-rpc';
import type { OperationParams } from '@atoll/protocol/operations';
import { allocate } from '../log/frames.ts';
import type { Logger } from '../logger.ts';
import { toAtollError } from '../routes/to-atoll-error.ts';
import { createEventLines, type EventLines } from './event-lines.ts';
import { createLineRing } from './line-ring.ts';

type Wanted = { sessionId: string; after: number };
type OpenStream = (
  params: OperationParams<'session.events'>,
  signal: AbortSignal,
) => Promise<AsyncIterable<Uint8Array>>;

export type Subscriptions = {
  /** Rejects as the stream does. Events go out from `begin` on. */
  open(wanted: Wanted, stream: OpenStream): Promise<{ result: Wanted; begin: () => void }>;
  close(sessionId: string): { sessionId: string };
};

const ID = Buffer.from('id: ');
/** What a line is longer than its frame, for messages that are not tiny. */
const GROWTH = 2;

export function createSubscriptions(options: {
  send: (bytes: Uint8Array, onTaken?: () => void) => Promise<void>;
  /** Aborts when the host is gone. */
  signal: AbortSignal;
  logger: Logger;
}): Subscriptions {
  const { send, signal, logger } = options;
  const subscribed = new Map<string, AbortController>();
  const ring = createLineRing();

  function close(sessionId: string): { sessionId: string } {
    subscribed.get(sessionId)?.abort('closed');
    subscribed.delete(sessionId);
    return { sessionId };
  }

  /** One piece after another: the next is made when there is room for more. */
  async function sendLines(linesOf: EventLines, frames: Uint8Array): Promise<void> {
    for (let at = 0; at < frames.length; ) {
      const room = ring.room() ?? allocate(GROWTH * (frames.length - at));
      const { bytes, next } = linesOf(frames, at, room);
      await send(bytes, ring.keep(bytes) ? ring.release : undefined);
      at = next;
    }
  }

  /** `session.unsubscribed` tells the host when a subscription ends by itself: the session is over, or why not. */
  async function pump(
    sessionId: string,
    frames: AsyncIterable<Uint8Array>,
    own: AbortController,
  ): Promise<void> {
    const linesOf = createEventLines(sessionId);
    let error: { error?: unknown } = {};
    try {
      for await (const chunk of frames) {
        if (own.signal.aborted) return;
        // What has no id is no event of the log: `ready`, which opens every stream.
        if (ID.compare(chunk, 0, ID.length) === 0) await sendLines(linesOf, chunk);
      }
    } catch (failed) {
      error = { error: toRpcError(toAtollError(failed, logger)) };
    }
    if (own.signal.aborted) return;
    close(sessionId);
    const params = { sessionId, ...error };
    await send(
      Buffer.from(`${JSON.stringify({ jsonrpc: '2.0', method: 'session.unsubscribed', params })}\n`),
    );
  }

  return {
    close,
    async open({ sessionId, after }, stream) {
      const own = new AbortController();
      const frames = await stream({ sessionId, after, limit: 100 }, AbortSignal.any([own.signal, signal]));
      if (signal.aborted) throw new AtollError('cancelled', 'the host is gone');
      close(sessionId);
      subscribed.set(sessionId, own);
      return { result: { sessionId, after }, begin: () => void pump(sessionId, frames, own) };
    },
  };
}
