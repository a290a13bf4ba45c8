/** A session's log as pages of JSON, and where a reader of it begins. */
import { AtollError } from '@atoll/protocol/errors';
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import type { SessionEvent } from '@atoll/protocol/schemas/session';
import { eventsOf } from '../log/frames.ts';
import type { LogChunk } from '../log/log.ts';
import type { LiveSession } from '../sessions/live-session.ts';
import { bombIn } from './json-body.ts';

/** A page ends early when it holds this much, so that one page of huge messages stays small. */
const PAGE_BYTES = 4 * 1024 * 1024;

type Params = OperationParams<'session.events'>;

/** The seq after which to read: `Last-Event-ID` first, then `after`, then the beginning. */
export function startOf(session: LiveSession, { lastEventId, after, cursor }: Params): number {
  if (cursor !== undefined && !/^\d{1,15}$/.test(cursor))
    throw new AtollError('invalid_cursor', 'the cursor is not a seq');
  const start = Number(lastEventId ?? cursor ?? after ?? 0);
  if (start > session.log.durableSeq)
    throw new AtollError(
      'invalid_cursor',
      `seq ${start} is past the end of the log, which is ${session.log.durableSeq}`,
    );
  return start;
}

export async function eventsPage(
  session: LiveSession,
  params: Params,
): Promise<OperationResult<'session.events'>> {
  let cursor = startOf(session, params);
  const end = session.log.durableSeq;
  const events: SessionEvent[] = [];
  let bytes = 0;
  while (cursor < end && events.length < params.limit && bytes < PAGE_BYTES) {
    const chunks = await session.log.read(cursor);
    if (chunks.length === 0) break;
    for (const event of eventsIn(chunks, cursor)) {
      if (events.length >= params.limit || bytes >= PAGE_BYTES) break;
      events.push(toJson(event));
      bytes += event.data.length;
      cursor = event.seq;
    }
  }
  return { events, nextCursor: cursor < end ? String(cursor) : null };
}

type RawEvent = { seq: number; time: string; event: string; data: Uint8Array };

function* eventsIn(chunks: readonly LogChunk[], after: number): Generator<RawEvent> {
  for (const { time, frames } of chunks) {
    for (const event of eventsOf({ frames })) if (event.seq > after) yield { ...event, time };
  }
}

/** A message that is not JSON after all, or that only a bomb would be, is shown as text, without breaking the page (I3). */
function toJson({ seq, time, event, data }: RawEvent): SessionEvent {
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString();
  if (bombIn(data) !== undefined) return { seq, time, event, data: { unparsable: text } };
  try {
    return { seq, time, event, data: JSON.parse(text) as unknown };
  } catch {
    return { seq, time, event, data: { unparsable: text } };
  }
}
