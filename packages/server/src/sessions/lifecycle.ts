/**
 * What happens to a session around its turns: opened, resumed, paused, its sandbox lost, ended. Each is a walk through
 * the status table; between two steps anything may have happened, so each step looks at the status again.
 */
import { AtollError, asAtollError } from '@atoll/protocol/errors';
import { childTraceparent } from '@atoll/protocol/trace';
import type { Step } from '../store/store.ts';
import type { Approvals } from './approvals.ts';
import { type LiveSession, runningTurn } from './live-session.ts';
import type { Assignment, SandboxEnd, SandboxSettings, SessionSandboxes, WarmSandbox } from './sandboxes.ts';
import type { Snapshotting } from './snapshotting.ts';
import { hasReadySandbox, isOver } from './status.ts';
import type { SandboxLoss, Turns } from './turns.ts';

export type Lifecycle = {
  /** Brings up the first sandbox. `rows` make the session, in the commit that gives it its place. */
  open(session: LiveSession, opening: Opening): Promise<void>;
  /** Begins with a sandbox that was made ahead and has been told whose it is: `rows` and all else in one commit. */
  begin(session: LiveSession, rows: readonly Step[], warm: WarmSandbox): Promise<void>;
  /** Brings up the next sandbox of a paused session, with its workspace and conversation. Never rejects: look at the status. */
  resume(session: LiveSession): Promise<void>;
  /** Frees the sandbox of an idle session and keeps its files as they are then. Resolves when its place is free. */
  pause(session: LiveSession, end: SandboxEnd): Promise<void>;
  /** The sandbox ended without being asked to; its turn ends with that status, or `failed`. */
  lost(session: LiveSession, end: SandboxEnd & Partial<SandboxLoss>): Promise<void>;
  /** Ends the session for good, with every turn it has. */
  end(session: LiveSession, end: SandboxEnd): Promise<void>;
};

export type Opening = { rows: readonly Step[]; settings: SandboxSettings; traceparent: string };

export type LifecycleOptions = {
  sandboxes: SessionSandboxes;
  approvals: Approvals;
  turns: () => Turns;
  snapshotting: Snapshotting;
  settingsOf: (session: LiveSession) => Promise<SandboxSettings>;
  onBroken: (session: LiveSession, error: unknown) => void;
};

type Bringing = { settings: SandboxSettings; assignment: Assignment; traceparent: string };

export function createLifecycle(options: LifecycleOptions): Lifecycle {
  const { sandboxes, approvals, turns, snapshotting, settingsOf, onBroken } = options;

  async function open(session: LiveSession, { rows, settings, traceparent }: Opening): Promise<void> {
    const assignment = await sandboxes.reserve(session, settings.demands, rows);
    // The sandbox is made while event 1 of every log is written.
    const recorded = session.record([starting]);
    const [failed] = await Promise.all([bringUp(session, { settings, assignment, traceparent }), recorded]);
    if (failed) throw failed;
    if (isOver(session.status)) throw new AtollError('session_ended', session.state.detail ?? undefined);
  }

  function begin(session: LiveSession, rows: readonly Step[], warm: WarmSandbox): Promise<void> {
    const { sandboxId } = warm;
    const taken = sandboxes.taken(session, warm);
    return session.record([starting, session.statusEvent('sandbox_ready', { sandboxId })], taken, {
      before: rows,
    });
  }

  function resume(session: LiveSession): Promise<void> {
    return session
      .record([session.statusEvent('resume_requested')])
      .then(async () => {
        const prepared = await prepare(session).catch(asAtollError);
        if (prepared instanceof AtollError) await failResume(session, prepared);
        else await bringUp(session, { ...prepared, traceparent: nextTraceparent(session) });
      })
      .catch((error) => onBroken(session, error));
  }

  async function prepare(
    session: LiveSession,
  ): Promise<{ settings: SandboxSettings; assignment: Assignment }> {
    const settings = await settingsOf(session);
    return { settings, assignment: await sandboxes.reserve(session, settings.demands) };
  }

  /** Has the sandbox made and records how that went. Returns why it failed, if it did. */
  async function bringUp(
    session: LiveSession,
    { settings, assignment, traceparent }: Bringing,
  ): Promise<AtollError | undefined> {
    const making = sandboxes.make(session, assignment, { ...settings, traceparent });
    const failed = await making.then(() => undefined, asAtollError);
    const { sandboxId } = assignment;
    const awaited =
      session.epoch === assignment.epoch && (session.status === 'starting' || session.status === 'resuming');
    if (!awaited) {
      // The session ended, or the server is stopping; whoever did that could not know this sandbox yet.
      const end = { cause: 'session_ended', detail: 'The session did not wait for its sandbox to be ready.' };
      await session.record([], sandboxes.failed(assignment, end));
      await sandboxes.remove(session, { sandboxId, cause: end.cause, keep: !isOver(session.status) });
      return undefined;
    }
    if (failed) {
      const end = { cause: failed.code, detail: failed.detail };
      if (session.status === 'resuming') await failResume(session, failed, sandboxes.failed(assignment, end));
      else
        await session.record([session.statusEvent('sandbox_failed', end)], sandboxes.failed(assignment, end));
      return failed;
    }
    const ready = session.record(
      [session.statusEvent('sandbox_ready', { sandboxId })],
      sandboxes.made(assignment),
    );
    turns().advance(session);
    await ready.catch(async (error: unknown) => {
      // Whoever forgot the session when its log first failed may not have known this sandbox yet.
      await sandboxes.remove(session, { sandboxId, cause: 'server_lost', keep: true });
      throw error;
    });
    return undefined;
  }

  /** The turn that wanted the sandbox fails; later ones may try again. */
  async function failResume(
    session: LiveSession,
    error: AtollError,
    rows: readonly Step[] = [],
  ): Promise<void> {
    // Ended, or stopped with the server, while it was being prepared.
    if (session.status !== 'resuming') return session.record([], rows);
    const end = { cause: error.code, detail: error.detail };
    const [first] = session.state.queue;
    const turn = first === undefined ? undefined : session.turns.get(first);
    await Promise.all([
      session.record([{ event: 'error', data: { code: error.code, detail: error.detail } }], rows),
      turn ? turns().recordDone(session, turn, { status: 'failed', ...end }) : undefined,
      session.record([session.statusEvent('sandbox_failed', end)]),
    ]);
    turns().advance(session);
  }

  async function pause(session: LiveSession, end: SandboxEnd): Promise<void> {
    const seq = session.seqOf(0);
    await session.record([session.statusEvent('pause_requested', end)]);
    await sandboxes.remove(session, { cause: end.cause, keep: true });
    if (session.status === 'pausing') await snapshotting.atPause(session, seq);
    if (session.status !== 'pausing') return;
    await session.record([session.statusEvent('paused', end)], sandboxes.ended(session, end));
    turns().advance(session);
  }

  async function lost(
    session: LiveSession,
    { status = 'failed', ...end }: SandboxEnd & Partial<SandboxLoss>,
  ): Promise<void> {
    // Starting and resuming sessions hear of it from `make`; pausing ones from `pause`.
    if (!hasReadySandbox(session.status) || session.status === 'pausing') return;
    const turn = runningTurn(session);
    const rows = sandboxes.ended(session, end);
    const error = { event: 'error', data: { code: 'sandbox_failed', detail: end.detail } } as const;
    const told = turn && session.record([error]);
    const done = turn && turns().recordDone(session, turn, { status, ...end });
    // With a runner that is lost, its files are.
    const there = end.cause !== 'runner_lost';
    if (done && there && turn.doneSeq !== undefined) snapshotting.afterTurn(session, turn.doneSeq, done);
    const recorded = [told, done, session.record([session.statusEvent('sandbox_lost', end)], rows)];
    turns().advance(session);
    await Promise.all(recorded);
  }

  async function end(session: LiveSession, why: SandboxEnd): Promise<void> {
    if (isOver(session.status)) return;
    // Its place is free when its sandbox is gone, and not before.
    const rows = hasReadySandbox(session.status) ? sandboxes.ended(session, why) : [];
    const done = [...session.turns.values()].map((turn) =>
      turns().recordDone(session, turn, { status: 'interrupted', ...why }),
    );
    // What an earlier executor left open, when no turn ended here.
    const closed = approvals.closing(session, { status: 'interrupted', ...why });
    const ended = [...closed.events, session.statusEvent('end_requested', why)];
    await Promise.all([...done, session.record(ended, closed.rows)]);
    await sandboxes.remove(session, { cause: 'ended', keep: false });
    if (rows.length > 0) await session.record([], rows);
  }

  return { open, begin, resume, pause, lost, end };
}

const starting = { event: 'status', data: { status: 'starting' } } as const;

/** The trace of the turn that a sandbox is made for, or a new one where it is for a command. */
function nextTraceparent(session: LiveSession): string {
  const [first] = session.state.queue;
  return childTraceparent(first === undefined ? undefined : session.turns.get(first)?.traceparent);
}
