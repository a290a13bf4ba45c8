/** Waits for a turn, for as long as the one who asks can wait: what it has come to by then is the answer. */
import type { Platform } from '../platform.ts';
import { createTurnReader, type TurnResult } from './turn-result.ts';

export type WaitOptions = {
  platform: Platform;
  sessionId: string;
  turnId: string;
  /** A seq of the session's log at or before the turn's input. */
  afterSeq: number;
  offset?: number | undefined;
  waitMs: number;
  /** Aborts when nobody waits any more. */
  signal: AbortSignal;
  /** Told of each event. */
  onProgress: (seq: number) => void;
};

/** Answers early when the turn begins to wait for a person: whoever asked may be able to tell them. */
export async function waitForTurn(options: WaitOptions): Promise<TurnResult> {
  const { platform, sessionId, turnId, afterSeq, offset, waitMs, signal, onProgress } = options;
  const { session } = await platform.call('session.show', { sessionId }, { signal });
  const reader = createTurnReader(turnId, offset);
  const enough = new AbortController();
  const until = AbortSignal.any([signal, enough.signal]);
  // What is in the log already is read however short the wait.
  if (waitMs === 0 && session.lastSeq <= afterSeq) return reader.result();
  const timer = waitMs === 0 ? undefined : setTimeout(() => enough.abort(), waitMs);
  try {
    for await (const event of platform.events(sessionId, { after: afterSeq, signal: until })) {
      const { seq = 0 } = event;
      reader.take(event);
      onProgress(seq);
      const isNow = seq >= session.lastSeq;
      if (reader.ended || (isNow && waitMs === 0)) break;
      if (seq > session.lastSeq && event.event === 'approval' && reader.result().status === 'waiting') break;
    }
  } finally {
    clearTimeout(timer);
  }
  return reader.result();
}
