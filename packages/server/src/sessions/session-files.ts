/**
 * A session's files for those who ask from outside, whether it has a sandbox or not. Of one that is paused they are put
 * back first where its runner does not have them, as of a fork that has had no message yet, or on another runner where its
 * own is gone. That takes no place on a runner, and looking is no use of the session.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { RunnerLink, SandboxFiles } from '@atoll/protocol/runner-link';
import type { RunnerRegistry } from '../runners/registry.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import type { Snapshot, Snapshots } from '../snapshots/snapshots.ts';
import type { Store } from '../store/store.ts';
import type { LiveSession } from './live-session.ts';
import type { SandboxSettings, SessionSandboxes } from './sandboxes.ts';
import type { Snapshotting } from './snapshotting.ts';
import { isOver } from './status.ts';

export type SessionFiles = {
  /** Rejects with `session_ended`, and with why its files could not be put back. */
  toRead(session: LiveSession): Promise<SandboxFiles>;
  /**
   * As `toRead`, once the snapshot of the last turn was taken: what is written now came after it. To one that is paused
   * it is a use of the session, and the next snapshot has it.
   */
  toWrite(session: LiveSession): Promise<SandboxFiles>;
};

/** A sandbox that ended may be on its runner for a moment still. */
const BUSY_RETRY_MS = 50;
const BUSY_MAX_MS = 5_000;

export function createSessionFiles(options: {
  store: Store;
  runners: Pick<RunnerRegistry, 'find'>;
  scheduler: Pick<Scheduler, 'placeSoon'>;
  snapshots: Pick<Snapshots, 'nearest'>;
  snapshotting: Pick<Snapshotting, 'afterWrite'>;
  sandboxes: Pick<SessionSandboxes, 'remove'>;
  settingsOf: (session: LiveSession) => Promise<SandboxSettings>;
  linkOf: (session: LiveSession) => RunnerLink;
  /** Brings up its sandbox: with it come the files of an agent's folder. */
  wake: (session: LiveSession) => Promise<unknown>;
  isStopping: () => boolean;
  now: () => number;
}): SessionFiles {
  const { store, runners, scheduler, snapshots, sandboxes, settingsOf, linkOf, wake, now } = options;
  const never = new AbortController().signal;
  /** Whoever asks meanwhile waits for the same. */
  const placing = new WeakMap<LiveSession, Promise<void>>();

  async function toRead(session: LiveSession): Promise<SandboxFiles> {
    await session.awaited?.promise;
    const giveUpAt = performance.now() + BUSY_MAX_MS;
    for (;;) {
      await session.log.until(() => session.status !== 'starting' && session.status !== 'resuming', never);
      refuseOver(session);
      if (session.status !== 'paused') return linkOf(session).files;
      if (options.isStopping()) throw new AtollError('shutting_down');
      try {
        if (await putBack(session)) return linkOf(session).files;
      } catch (error) {
        if (!isBusy(error) || performance.now() >= giveUpAt) throw error;
        await delay(BUSY_RETRY_MS);
      }
    }
  }

  /** False when a sandbox came meanwhile, and with it the files. */
  async function putBack(session: LiveSession): Promise<boolean> {
    const snapshot = await snapshots.nearest(session.id, session.log.lastSeq);
    if (session.status !== 'paused') return false;
    if (snapshot === undefined) {
      if (isNowhere(session)) await wake(session);
      return true;
    }
    if (isNowhere(session)) await placed(session);
    if (session.status !== 'paused') return false;
    return restore(session, snapshot);
  }

  /** Without a runner, or of one that is not there any more. */
  function isNowhere({ runnerId }: LiveSession): boolean {
    return runnerId === null || runners.find(runnerId) === undefined;
  }

  /** Rejects with `illegal_transition` while a sandbox is still there. */
  async function restore(session: LiveSession, { root, epoch }: Snapshot): Promise<boolean> {
    const { tenant } = session.row;
    try {
      await linkOf(session).restore({ workspaceId: session.id, tenant, root, epoch });
    } catch (error) {
      if (isBusy(error) || !isOver(session.status)) throw error;
    }
    if (!isOver(session.status)) return true;
    // Whoever ended it could not know of these.
    await sandboxes.remove(session, { cause: 'ended', keep: false });
    return false;
  }

  function placed(session: LiveSession): Promise<void> {
    const placement = placing.get(session) ?? place(session).finally(() => placing.delete(session));
    placing.set(session, placement);
    return placement;
  }

  /** What is written there is looked for there after a restart, too. */
  async function place(session: LiveSession): Promise<void> {
    const { demands } = await settingsOf(session);
    const { tenant } = session.row;
    const before = session.runnerId;
    const { runner, settled } = await scheduler.placeSoon({ tenant, demands, preferred: null });
    settled();
    if (session.status !== 'paused' || session.runnerId !== before) return;
    session.runnerId = runner.id;
    const row = store.sql.updateTable('sessions').set({ runner_id: runner.id });
    await store.commit([{ query: row.where('id', '=', session.id).where('runner_id', 'is', before) }]);
  }

  async function toWrite(session: LiveSession): Promise<SandboxFiles> {
    const files = await toRead(session);
    session.scanNow();
    await session.scanned;
    refuseOver(session);
    session.lastUsedMs = now();
    return {
      read: (request) => files.read(request),
      list: (request) => files.list(request),
      async write(request) {
        const done = await files.write(request);
        await keep(session);
        return done;
      },
      async remove(request) {
        await files.remove(request);
        await keep(session);
      },
    };
  }

  /** Of a session without a sandbox, nothing else would keep what was written. */
  async function keep(session: LiveSession): Promise<void> {
    if (session.status !== 'paused' && session.status !== 'pausing') return;
    options.snapshotting.afterWrite(session);
    session.updatedAt = new Date(now()).toISOString();
    const row = store.sql.updateTable('sessions').set({ updated_at: session.updatedAt });
    await store.commit([{ query: row.where('id', '=', session.id) }]);
  }

  return { toRead, toWrite };
}

function refuseOver({ status }: LiveSession): void {
  if (isOver(status)) throw new AtollError('session_ended', 'the session ended, and its workspace with it');
}

function isBusy(error: unknown): boolean {
  return error instanceof AtollError && error.code === 'illegal_transition';
}
