/**
 * The sessions that one host listens to: replay after a seq, then live, as notifications. A session has one
 * subscription at most; another one takes its place.
 */
import { AtollError } from '@atoll/protocol/errors';
import { toRpcError } from '@atoll/protocol/json-rpc';
import type { OperationParams } from '@atoll/protocol/operations';
import type { Logger } from '../logger.ts';
import { toAtollError } from '../routes/to-atoll-error.ts';
import { createEventLines } from './event-lines.ts';

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

export function createSubscriptions(options: {
  send: (bytes: Uint8Array) => Promise<void>;
  /** Aborts when the host is gone. */
  signal: AbortSignal;
  logger: Logger;
}): Subscriptions {
  const { send, signal, logger } = options;
  const subscribed = new Map<string, AbortController>();

  function close(sessionId: string): { sessionId: string } {
    subscribed.get(sessionId)?.abort('closed');
    subscribed.delete(sessionId);
    return { sessionId };
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
        if (ID.compare(chunk, 0, ID.length) === 0) await send(linesOf(chunk));
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
