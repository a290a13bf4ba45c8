/**
 * What an executor says of itself: to which session it is bound, what it reports, the session's metadata; and what its
 * gateway says of its traffic. Each is a `report` in the log and is answered when that is on disk (I1). An assignment
 * that is over is refused (I6).
 */
import { AtollError } from '@atoll/protocol/errors';
import { mergePatch } from '@atoll/protocol/merge-patch';
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import type { AccessReport } from '@atoll/protocol/runner-link';
import type { Session } from '@atoll/protocol/schemas/session';
import { type Access, refuseStale } from '../keys/access.ts';
import type { LiveSession } from './live-session.ts';
import type { LiveSessions } from './live-sessions.ts';
import { type BoundExecutor, refuseLargeMetadata } from './reported.ts';
import { showLive } from './rows.ts';
import { isOver } from './status.ts';

export type Reports = {
  /** Rejects with `already_bound` when another executor is bound and this one's assignment is over. */
  bind(access: Access, params: OperationParams<'session.bind'>): Promise<Session>;
  add(access: Access, params: OperationParams<'session.report'>): Promise<OperationResult<'session.report'>>;
  /** Rejects with `body_too_large` when the whole would be larger than 64 KiB. */
  updateMetadata(
    access: Access,
    params: OperationParams<'session.metadata.update'>,
  ): Promise<OperationResult<'session.metadata.update'>>;
  /** What a gateway says of its sandbox's traffic: the last of it may come when the session is over. */
  addAccess(access: Access, report: AccessReport): Promise<void>;
};

export function createReports({ find }: Pick<LiveSessions, 'find'>): Reports {
  /** From here to `record` nothing may be awaited: what was looked at must still hold. */
  async function open(access: Access, sessionId: string): Promise<LiveSession> {
    const session = await find(access, sessionId);
    await session.log.ready();
    return session;
  }

  return {
    async bind(access, { sessionId, ...binding }) {
      const session = await open(access, sessionId);
      const executor: BoundExecutor = {
        executorSessionId: binding.executor_session_id,
        projectDir: binding.project_dir ?? null,
        hostname: binding.hostname ?? null,
        executorProfile: binding.executor_profile ?? null,
      };
      const { bound } = session.durableReported;
      if (bound !== null && isSame(bound, executor)) return showLive(session);
      refuseOther(access, session);
      refuseWhenOver(access, session);
      const data = { event_type: 'bind', ...binding };
      await session.record([{ event: 'report', data }], [], { change: { bound: executor } });
      return showLive(session);
    },

    async add(access, { sessionId, ...data }) {
      const session = await open(access, sessionId);
      refuseWhenOver(access, session);
      const seq = session.seqOf(0);
      await session.record([{ event: 'report', data }]);
      return { seq };
    },

    async updateMetadata(access, { sessionId, ...patch }) {
      const session = await open(access, sessionId);
      refuseWhenOver(access, session);
      const metadata = mergePatch(session.reported.metadata, patch) as Record<string, unknown>;
      refuseLargeMetadata(metadata);
      const data = { event_type: 'metadata', patch };
      await session.record([{ event: 'report', data }], [], { change: { metadata } });
      return { metadata };
    },

    async addAccess(access, { sessionId, epoch, records, dropped }) {
      const session = await open(access, sessionId);
      if (epoch !== session.epoch)
        throw new AtollError('stale_epoch', `the session is at epoch ${session.epoch}, not at ${epoch}`);
      const seen = records.map((record) => ({ event_type: 'access', ...record }));
      const lost = dropped > 0 ? [{ event_type: 'access_dropped', dropped }] : [];
      await session.record([...seen, ...lost].map((data) => ({ event: 'report' as const, data })));
    },
  };
}

/** Once there is a binding, only the assignment that counts may change it. */
function refuseOther({ session: asking }: Access, { epoch, reported }: LiveSession): void {
  if (reported.bound !== null && asking !== undefined && asking.epoch < epoch)
    throw new AtollError('already_bound', 'the session has another executor, in a newer sandbox');
}

function refuseWhenOver(access: Access, { epoch, status }: LiveSession): void {
  refuseStale(access, epoch);
  if (isOver(status)) throw new AtollError('session_ended', `the session has ${status}`);
}

function isSame(a: BoundExecutor, b: BoundExecutor): boolean {
  return (
    a.executorSessionId === b.executorSessionId &&
    a.projectDir === b.projectDir &&
    a.hostname === b.hostname &&
    a.executorProfile === b.executorProfile
  );
}
