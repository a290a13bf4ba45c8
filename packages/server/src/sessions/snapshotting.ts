/**
 * When a session's snapshots are taken: after each turn, when it is paused, and after files were written while it is. None
 * holds up what has happened; the next command waits until the files were looked at, so that a snapshot is of its turn and
 * of nothing after it. One that fails is told as an `error`, and the session goes on.
 */
import type { RunnerLink } from '@atoll/protocol/runner-link';
import type { SnapshotOutcome, SnapshotRequest, Snapshots, TakingSnapshot } from '../snapshots/snapshots.ts';
import type { LiveSession } from './live-session.ts';
import { isOver } from './status.ts';

export type Snapshotting = {
  /** `durable` commits the event `seq`. */
  afterTurn(session: LiveSession, seq: number, durable: Promise<unknown>): void;
  /** Resolves when it is taken, or failed and told. */
  atPause(session: LiveSession, seq: number): Promise<void>;
  /** Of one that is paused: what was written holds wherever it is resumed. One snapshot is of all that came before it began. */
  afterWrite(session: LiveSession): void;
};

/** Whoever waited for the turn comes first, and its commit. A runner elsewhere looks at the files meanwhile. */
const LATER_MS = 10;
/** Who writes many files writes the next one soon. */
const AFTER_WRITE_MS = 500;

export function createSnapshotting(options: {
  snapshots: Snapshots;
  linkOf: (session: LiveSession) => RunnerLink;
  /** Nobody forgot this session for another that was loaded anew. */
  isKnown: (session: LiveSession) => boolean;
}): Snapshotting {
  const { snapshots, linkOf, isKnown } = options;
  const writtenTo = new WeakSet<LiveSession>();

  function take(session: LiveSession, seq: number, later: SnapshotRequest['later']): TakingSnapshot {
    const { id: sessionId, epoch, row } = session;
    return snapshots.take({ sessionId, tenant: row.tenant, epoch, seq, link: linkOf(session), later });
  }

  async function tell(session: LiveSession, seq: number, outcome: SnapshotOutcome): Promise<void> {
    if (isOver(session.status) || !isKnown(session)) return;
    if (outcome.status === 'failed') {
      const detail = `The files as they are after event ${seq} could not be kept: ${outcome.detail}`;
      return session.record([{ event: 'error', data: { code: 'snapshot_failed', detail } }]);
    }
    const { skipped } = outcome.taken;
    const told = JSON.stringify(skipped);
    if (skipped.count === 0 || told === session.toldSkipped) return;
    session.toldSkipped = told;
    const data = { event_type: 'snapshot_skipped', snapshotSeq: seq, ...skipped };
    await session.record([{ event: 'report', data }]);
  }

  return {
    afterTurn(session, seq, durable) {
      const { due, now } = linkOf(session).elsewhere
        ? { due: durable, now: () => undefined }
        : postponed(LATER_MS);
      session.scanNow = now;
      const { scanned, over } = take(session, seq, { begin: due, durable, now });
      session.scanned = scanned;
      // A log that refuses forgets the session, and then there is nobody to tell.
      void over.then((outcome) => tell(session, seq, outcome)).catch(() => undefined);
    },
    async atPause(session, seq) {
      const { scanned, over } = take(session, seq, undefined);
      session.scanned = scanned;
      await tell(session, seq, await over);
    },
    afterWrite(session) {
      if (writtenTo.has(session)) return;
      writtenTo.add(session);
      const { due, now } = postponed(AFTER_WRITE_MS);
      const begin = due.then(() => writtenTo.delete(session));
      const seq = session.log.lastSeq;
      const { over } = take(session, seq, { begin, durable: Promise.resolve(), now });
      void over.then((outcome) => tell(session, seq, outcome)).catch(() => undefined);
    },
  };
}

/** Due after so long, or at once when it is hurried. */
function postponed(ms: number): { due: Promise<void>; now: () => void } {
  const due = Promise.withResolvers<void>();
  const timer = setTimeout(due.resolve, ms);
  return {
    due: due.promise,
    now() {
      clearTimeout(timer);
      due.resolve();
    },
  };
}
