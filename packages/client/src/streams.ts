import { AtollError } from '@atoll/protocol/errors';
import { type OperationInput, operations } from '@atoll/protocol/operations';
import { follow } from './follow.ts';
import { eventData, type StreamEvent } from './stream-event.ts';
import type { Timers } from './timers.ts';
import type { Transport } from './transport.ts';
import { createTurnFilter } from './turn-filter.ts';

export type StreamContext = { transport: Transport; timers: Timers };

export type SendParams = Omit<OperationInput<'session.send'>, 'sessionId'>;

type Following = { signal?: AbortSignal | undefined; maxAttempts?: number | undefined };

const STREAM = 'text/event-stream';

/** The whole log of a session, then live. */
export function sessionEvents(
  { transport, timers }: StreamContext,
  sessionId: string,
  { after, signal, maxAttempts }: Following & { after?: number },
): AsyncIterable<StreamEvent> {
  return follow({
    url: transport.url,
    timers,
    signal,
    maxAttempts,
    after,
    retryFirst: true,
    open: (seq, connection) =>
      transport.send(operations['session.events'], logParams(sessionId, seq), {
        accept: STREAM,
        signal: connection,
      }),
    isLast: (event) => isFinal(eventData(event, 'status')?.status),
    isOver: (ready) => isFinal(ready && eventData(ready, 'ready')?.status),
  });
}

/**
 * One turn. The first connection is the answer to the POST, which holds this turn alone. Once an event was seen, a
 * later connection reads the log after it and picks out the turn. Before that, the POST is sent again: its
 * idempotency key makes it find the same turn.
 */
export async function* turnEvents(
  { transport, timers }: StreamContext,
  sessionId: string,
  message: SendParams,
  { signal, maxAttempts }: Following,
): AsyncGenerator<StreamEvent> {
  const idempotencyKey = message.idempotencyKey ?? globalThis.crypto.randomUUID();
  const turn = createTurnFilter();
  let source: 'turn' | 'log' = 'turn';
  const events = follow({
    url: transport.url,
    timers,
    signal,
    maxAttempts,
    retryFirst: false,
    open(seq, connection) {
      const request = { accept: STREAM, signal: connection };
      source = seq === undefined ? 'turn' : 'log';
      return source === 'turn'
        ? transport.send(operations['session.send'], { ...message, sessionId, idempotencyKey }, request)
        : transport.send(operations['session.events'], logParams(sessionId, seq), request);
    },
    isLast: (event) => turn.isEnd(event),
    isOver(ready) {
      if (source === 'log' && isFinal(ready && eventData(ready, 'ready')?.status))
        throw new AtollError('session_ended', 'The session ended and its log has no end of this turn.');
      return false;
    },
  });
  for await (const event of events) {
    if (source === 'turn') turn.note(event);
    else if (!turn.takes(event)) continue;
    yield event;
  }
}

/** Both ways of naming a place are the same to the server; the header is what every SSE client would send. */
function logParams(sessionId: string, seq: number | undefined): Record<string, unknown> {
  return seq === undefined ? { sessionId } : { sessionId, lastEventId: String(seq) };
}

function isFinal(status: string | undefined): boolean {
  return status === 'ended' || status === 'failed';
}
