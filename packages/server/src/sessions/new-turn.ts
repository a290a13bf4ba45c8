/** A turn as somebody asks for it, and whether its session takes it. */
import { AtollError } from '@atoll/protocol/errors';
import { MAX_LINE_BYTES } from '@atoll/protocol/lines';
import type { LiveSession } from './live-session.ts';
import { isOver } from './status.ts';

const MAX_QUEUED_TURNS = 100;
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

export type NewTurn = {
  content: unknown;
  options: Record<string, unknown>;
  when: 'queue' | 'now';
  traceparent: string;
  idempotencyKey?: string;
  requestHash?: string;
};

/** Throws `session_ended`, `queue_full`, `cannot_steer`, `body_too_large`. */
export function checkAcceptable(session: LiveSession, { content, when }: NewTurn): void {
  if (isOver(session.status)) throw new AtollError('session_ended', `the session has ${session.status}`);
  if (when === 'now' && session.state.turn !== null)
    throw new AtollError(
      'cannot_steer',
      'this executor takes no message while a turn runs; send it with when: "queue"',
    );
  if (session.state.queue.length >= MAX_QUEUED_TURNS)
    throw new AtollError('queue_full', `${MAX_QUEUED_TURNS} turns are waiting already`);
  const bytes = contentBytes(content);
  if (bytes > MAX_LINE_BYTES - 64 * 1024)
    throw new AtollError(
      'body_too_large',
      `the content is larger than an executor can be handed (${MAX_LINE_BYTES} bytes)`,
    );
  let waiting = bytes;
  for (const turn of session.turns.values()) waiting += turn.contentBytes;
  if (session.turns.size > 0 && waiting > MAX_QUEUED_BYTES)
    throw new AtollError('queue_full', 'the waiting turns are too large together');
}

export function contentBytes(content: unknown): number {
  return Buffer.byteLength(JSON.stringify(content));
}
