/**
 * Checkpoints of a session's fold, so that what it was at any moment costs the same however long its log is: one every
 * couple of thousand events or MiB, one when the session leaves memory, and one with each change of what was reported,
 * which no event that the fold reads tells. Each is written in the commit of the last event that it holds.
 */
import { eventsNamed, type Frames } from '../log/frames.ts';
import type { Log } from '../log/log.ts';
import type { Step } from '../store/store.ts';
import { fold, initialState, type SessionState, type StateEvent } from './fold.ts';
import type { Reported } from './reported.ts';

const EVERY_EVENTS = 2000;
const EVERY_BYTES = 1024 * 1024;
const READ_BYTES = 256 * 1024;

/** What a session's events up to some seq come to. */
export type Folded = { readonly state: SessionState; readonly reported: Reported };

export type Checkpoints = {
  /** The step, if it is time for one, for the commit that appends so much and ends at `seq`. */
  after(
    appended: { seq: number; events: number; bytes?: number; now?: boolean },
    folded: Folded,
  ): readonly Step[];
};

type Place = { log: Log; logId: string; tenant: string };

export function createCheckpoints(place: Place): Checkpoints {
  let events = 0;
  let bytes = 0;
  return {
    after(appended, folded) {
      events += appended.events;
      bytes += appended.bytes ?? 0;
      if (!appended.now && events < EVERY_EVENTS && bytes < EVERY_BYTES) return none;
      events = 0;
      bytes = 0;
      return [checkpointAt(place, appended.seq, folded)];
    },
  };
}

const none: readonly Step[] = [];

export function checkpointAt({ log, logId, tenant }: Place, seq: number, folded: Folded): Step {
  return log.checkpoint({ logId, tenant, seq, state: JSON.stringify(folded) });
}

/** The fold of a log up to `seq`, from the latest checkpoint before it. */
export async function foldAt(log: Log, { logId, seq }: { logId: string; seq: number }): Promise<Folded> {
  const kept = await log.checkpointBefore({ logId, seq });
  const { state: begun, reported } = kept === undefined ? nothing : (JSON.parse(kept.state) as Folded);
  let state = begun;
  let cursor = kept?.seq ?? 0;
  while (cursor < seq) {
    const chunks = await log.read({ logId, after: cursor, maxBytes: READ_BYTES });
    if (chunks.length === 0) break;
    for (const chunk of chunks) {
      for (const event of stateEventsOf(chunk, { after: cursor, upTo: seq })) state = fold(state, event);
      cursor = chunk.lastSeq;
    }
  }
  return { state, reported };
}

const nothing: Folded = { state: initialState, reported: { bound: null, metadata: {} } };

const NAMES: readonly StateEvent['event'][] = ['input', 'status', 'approval', 'done'];

function* stateEventsOf(
  chunk: Frames,
  { after, upTo }: { after: number; upTo: number },
): Generator<StateEvent> {
  for (const { seq, event, data } of eventsNamed(chunk, NAMES))
    if (seq > after && seq <= upTo)
      yield { event, data: JSON.parse(Buffer.from(data).toString()) } as StateEvent;
}
