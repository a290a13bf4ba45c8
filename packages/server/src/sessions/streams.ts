/** What readers of a session see: its whole log, or one turn of it, as SSE frames. */
import type { EventData } from '@atoll/protocol/events';
import { concatBytes } from '@atoll/protocol/lines';
import { sseFrame } from '@atoll/protocol/sse';
import type { TurnStatus } from '@atoll/protocol/statuses';
import { eventsOf, type FramedEvent, frameEvent, framesUpTo } from '../log/frames.ts';
import type { FollowedFrames } from '../log/session-log.ts';
import type { LiveSession } from './live-session.ts';
import { isOver } from './status.ts';

type Frames = AsyncGenerator<Uint8Array>;

/** The log after `after`, then live, until the session is over. */
export async function* sessionFrames(session: LiveSession, after: number, signal: AbortSignal): Frames {
  yield ready({ sessionId: session.id, turnId: session.state.turn, status: session.status });
  const until = () => (isOver(session.status) ? session.log.lastSeq : undefined);
  for await (const { frames } of session.log.follow({ after, signal, until })) yield frames;
}

/** The part of a turn that its stream needs; a finished turn's comes from its row. */
export type StreamedTurn = {
  readonly id: string;
  readonly inputSeq: number;
  readonly waited: boolean;
  readonly startSeq: number | undefined;
  readonly doneSeq: number | undefined;
  /** How it ended, when it had before anybody asked for its stream. */
  readonly ended?: TurnStatus;
};

/**
 * One turn: its input, and everything from its start to its `done`. A turn that waited for another one skips what came
 * in between, and no stream shows another turn's `input` or `done`.
 */
export async function* turnFrames(session: LiveSession, turn: StreamedTurn, signal: AbortSignal): Frames {
  const { log } = session;
  const status = turn.ended ?? (turn.startSeq === undefined ? 'queued' : 'running');
  yield ready({ sessionId: session.id, turnId: turn.id, status });
  let after = turn.inputSeq - 1;
  if (turn.waited) {
    const input = bounded(log.follow({ after, signal, until: () => turn.inputSeq }), () => turn.inputSeq);
    for await (const { frames } of input) yield frames;
    await log.until(() => turn.startSeq !== undefined || turn.doneSeq !== undefined, signal);
    after = (turn.startSeq ?? turn.doneSeq ?? turn.inputSeq + 1) - 1;
  }
  const all = bounded(log.follow({ after, signal, until: () => turn.doneSeq }), () => turn.doneSeq);
  for await (const { frames, onlyMessages } of all) {
    const own = onlyMessages ? frames : withoutOtherTurns(frames, turn.id);
    if (own.length > 0) yield own;
  }
}

/** Cuts what a chunk holds beyond the end, since chunks end where commits do. */
async function* bounded(
  chunks: AsyncIterable<FollowedFrames>,
  until: () => number | undefined,
): AsyncGenerator<FollowedFrames> {
  for await (const chunk of chunks) {
    const end = until();
    yield end === undefined ? chunk : { ...chunk, frames: framesUpTo(chunk, end) };
  }
}

const OTHERS = ['\nevent: input\n', '\nevent: done\n'].map((text) => Buffer.from(text));

function withoutOtherTurns(frames: Uint8Array, turnId: string): Uint8Array {
  const bytes = Buffer.from(frames.buffer, frames.byteOffset, frames.byteLength);
  if (!OTHERS.some((mark) => bytes.includes(mark))) return frames;
  const events = [...eventsOf({ frames })];
  const own = events.filter((event) => !isOfOtherTurn(event, turnId));
  if (own.length === events.length) return frames;
  return concatBytes(
    own.map(({ seq, event, data }) => frameEvent({ seq, event, data: Buffer.from(data).toString() })),
  );
}

function isOfOtherTurn({ event, data }: FramedEvent, turnId: string): boolean {
  if (event !== 'input' && event !== 'done') return false;
  return (JSON.parse(Buffer.from(data).toString()) as { turnId: string }).turnId !== turnId;
}

function ready(data: EventData<'ready'>): Uint8Array {
  return Buffer.from(sseFrame({ event: 'ready', data: JSON.stringify(data) }));
}
