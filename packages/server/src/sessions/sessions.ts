/** The sessions of this coordinator, as its operations see them: opened, found, listed, used, ended. */
import { AtollError } from '@atoll/protocol/errors';
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import type { CommandEvent, RunnerLink, SandboxEnded, SandboxInventory } from '@atoll/protocol/runner-link';
import { id, time } from '@atoll/protocol/schemas/common';
import type { Session, Turn } from '@atoll/protocol/schemas/session';
import * as v from 'valibot';
import type { Agents } from '../agents/agents.ts';
import type { Access } from '../keys/access.ts';
import type { SessionTokens } from '../keys/session-tokens.ts';
import type { Log } from '../log/log.ts';
import type { Logger } from '../logger.ts';
import { execIn } from '../runners/exec.ts';
import type { RunnerRegistry } from '../runners/registry.ts';
import type { RemoteLink } from '../runners/remote-link.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import type { Snapshots } from '../snapshots/snapshots.ts';
import { cursorAt, paged } from '../store/cursor.ts';
import type { Store } from '../store/store.ts';
import { countLostSandboxes, lastSign } from '../usage/counting.ts';
import { createAdoption } from './adoption.ts';
import { createApprovals } from './approvals.ts';
import { createCreating } from './creating.ts';
import type { SessionDiffs } from './diff.ts';
import { createLifecycle } from './lifecycle.ts';
import type { LiveSession } from './live-session.ts';
import { createLiveSessions } from './live-sessions.ts';
import { createModelUse } from './model-use.ts';
import { leftBehind, leftoverRows, recoverSession } from './recovery.ts';
import { createReports } from './reports.ts';
import { createRetiring } from './retiring.ts';
import { show, showLive, showTurn } from './rows.ts';
import { createSessionSandboxes, type SandboxSettings } from './sandboxes.ts';
import { createSending } from './sending.ts';
import { createSessionFiles } from './session-files.ts';
import { type SessionSettings, sandboxSettings } from './settings.ts';
import { createSnapshotting } from './snapshotting.ts';
import type { States } from './state-at.ts';
import { hasReadySandbox, holdsSandbox, isOver } from './status.ts';
import type { StreamedTurn } from './streams.ts';
import { createTurns } from './turns.ts';
import { createWarmPool } from './warm-pool.ts';

export type SessionsOptions = {
  store: Store;
  log: Log;
  runners: RunnerRegistry;
  scheduler: Scheduler;
  agents: Agents;
  tokens: SessionTokens;
  snapshots: Snapshots;
  logger: Logger;
  now: () => number;
};

export type Sessions = ReturnType<typeof createSessions>;

/** The id of a session whose sandbox was made ahead is older than it, so pages go by both. */
const pageEnd = v.strictTuple([time, id('session')]);
const CURSOR_MARK = '/';
/** Then the wait for a place goes on with another one. */
const MAX_PAUSING_MS = 10_000;
/** What a sandbox that ended said before is on its way for no longer than that. */
const MAX_TELLING_MS = 10_000;
const SERVER_LOST = { cause: 'server_lost', detail: 'The server lost this session while it was at work.' };
const SERVER_STOPPED = { cause: 'server_stopped', detail: 'The server was stopped.' };
const EVICTED = { cause: 'evicted', detail: 'Its sandbox made room for another session.' };
const RUNNER_LOST = {
  status: 'interrupted' as const,
  cause: 'runner_lost',
  detail: 'The runner of this session was lost.',
};
const DRAINED = { cause: 'drained', detail: 'Its runner is to take no more sandboxes.' };
const PAUSED = { cause: 'paused', detail: 'Somebody asked for the session to pause.' };
const ENDED = { cause: 'ended', detail: 'Somebody asked for the session to end.' };

export function createSessions(options: SessionsOptions) {
  const { store, log, runners, agents, tokens, snapshots, logger, now } = options;
  const { sql } = store;
  let stopping = false;
  const never = new AbortController().signal;
  let looking: Promise<States> | undefined;
  let comparing: Promise<SessionDiffs> | undefined;

  const warm = createWarmPool(options);
  const sandboxes = createSessionSandboxes({ ...options, makeRoom, busy: warm.busy });
  const approvals = createApprovals({ store, now, linkOf });
  const snapshotting = createSnapshotting({
    snapshots,
    linkOf,
    isKnown: (session) => live.known(session.id) === session,
  });
  const lifecycle = createLifecycle({
    sandboxes,
    approvals,
    snapshotting,
    turns: () => turns,
    settingsOf,
    onBroken: broken,
  });
  const turns = createTurns({
    store,
    now,
    approvals,
    linkOf,
    resume: (session) => void lifecycle.resume(session),
    onTurnEnded: (session, { doneSeq }, durable) => {
      if (doneSeq !== undefined) snapshotting.afterTurn(session, doneSeq, durable);
    },
    onSandboxLost: (session, end) =>
      void lifecycle.lost(session, end).catch((error) => broken(session, error)),
    onBroken: broken,
  });
  const recovery = { store, turns, now };
  const adoption = createAdoption({
    store,
    turns,
    isThere: (runnerId) => runners.find(runnerId) !== undefined,
    lose: (session, end) => lifecycle.lost(session, end).catch((error) => broken(session, error)),
    snapshots,
    snapshotting,
  });
  const live = createLiveSessions({
    store,
    log,
    now,
    goesOn: adoption.awaits,
    recover: (session) =>
      adoption.awaits(session.id) ? adoption.revive(session) : recoverSession(recovery, session, SERVER_LOST),
    onBroken: broken,
  });
  const create = createCreating({ ...options, live, warm, lifecycle });
  const sending = createSending({ store, turns });
  const reports = createReports(live);
  const retiring = createRetiring({ store, log, live, lifecycle, snapshots, now });
  const modelUse = createModelUse({ store, find: live.find });
  const files = createSessionFiles({
    ...options,
    snapshotting,
    sandboxes,
    settingsOf,
    linkOf,
    wake: wakeSandboxOf,
    isStopping: () => stopping,
  });

  function linkOf(session: LiveSession): RunnerLink {
    if (session.runnerId === null)
      throw new AtollError('no_runner', 'the session has no runner before its first message');
    return runners.link(session.runnerId);
  }

  async function settingsOf({ row }: LiveSession): Promise<SandboxSettings> {
    const version = await agents.version(row.tenant, row.agent, row.agent_version);
    const own = JSON.parse(row.settings) as SessionSettings;
    return sandboxSettings(version.manifestHash, version.settings, own);
  }

  /** The log or the store refused a write: memory is no longer the truth. Forget it; the next look recovers it. */
  function broken(session: LiveSession, err: unknown): void {
    // What comes too late for a stop is what the next start recovers.
    if (stopping || live.known(session.id) !== session) return;
    const { id: sessionId } = session;
    logger.error({ sessionId, err }, 'the session could not be written; it will be recovered from disk');
    live.delete(sessionId);
    adoption.known(session);
    // Its readers come back, and then read what is on disk.
    session.log.close(err instanceof Error ? err : new AtollError('storage_failed'));
    sandboxes
      .remove(session, { cause: 'server_lost', keep: true })
      .catch((error) => logger.warn({ sessionId, err: error }, 'its sandbox could not be ended'));
  }

  /** Ends a warm sandbox of a runner, or pauses its least recently used idle session, or waits for one that is being paused. */
  async function makeRoom(runnerId: string): Promise<boolean> {
    if (await warm.giveWay(runnerId)) return true;
    const there = live.all().filter((session) => session.runnerId === runnerId);
    const oldest = there.filter(isIdle).sort((a, b) => a.lastUsedMs - b.lastUsedMs)[0];
    if (oldest) {
      await lifecycle.pause(oldest, EVICTED).catch((error) => broken(oldest, error));
      return true;
    }
    const leaving = there.find((session) => session.status === 'pausing');
    await leaving?.log.until(() => leaving.status !== 'pausing', AbortSignal.timeout(MAX_PAUSING_MS));
    return leaving !== undefined;
  }

  async function list(
    access: Access,
    { agent, status, parent, limit, cursor }: OperationParams<'session.list'>,
  ): Promise<OperationResult<'session.list'>> {
    let query = sql
      .selectFrom('sessions')
      .innerJoin('logs', 'logs.id', 'sessions.log_id')
      .selectAll('sessions')
      .select('logs.last_seq as head_seq')
      .orderBy('sessions.created_at', 'desc')
      .orderBy('sessions.id', 'desc')
      .limit(limit + 1);
    if (!access.crossesTenants) query = query.where('sessions.tenant', '=', access.tenant);
    if (agent !== undefined) query = query.where('sessions.agent', '=', agent);
    if (status !== undefined) query = query.where('sessions.status', '=', status);
    if (parent !== undefined) query = query.where('sessions.parent_id', '=', parent);
    if (cursor !== undefined) {
      const [createdAt, id] = cursorAt(pageEnd, cursor.split(CURSOR_MARK));
      query = query.where(({ and, or, eb }) =>
        or([
          eb('sessions.created_at', '<', createdAt),
          and([eb('sessions.created_at', '=', createdAt), eb('sessions.id', '<', id)]),
        ]),
      );
    }
    const { page, nextCursor } = paged(await store.all(query), limit, (row) =>
      [row.created_at, row.id].join(CURSOR_MARK),
    );
    const sessions = page.map((row) => {
      const known = live.known(row.id);
      return known ? showLive(known) : show(row, row.head_seq);
    });
    return { sessions, nextCursor };
  }

  async function send(
    access: Access,
    params: OperationParams<'session.send'>,
    traceparent: string,
  ): Promise<{ session: LiveSession; turn: StreamedTurn }> {
    const session = await live.get(access, params.sessionId);
    return { session, turn: await sending.send(session, params, traceparent) };
  }

  async function turnShown(sessionId: string, turnId: string): Promise<Turn> {
    const ofSession = sql.selectFrom('turns').selectAll().where('session_id', '=', sessionId);
    const row = await store.first(ofSession.where('id', '=', turnId));
    if (!row) throw new AtollError('not_found', `no turn ${turnId}`);
    return showTurn(row);
  }

  async function interrupt(access: Access, params: OperationParams<'session.interrupt'>): Promise<Session> {
    const session = await live.get(access, params.sessionId);
    await turns.interrupt(session, params);
    return showLive(session);
  }

  /** Resolves when it is paused. Rejects with `illegal_transition` while something runs in it. */
  async function pause(access: Access, id: string): Promise<Session> {
    const session = await live.get(access, id);
    await session.awaited?.promise;
    if (isOver(session.status)) throw new AtollError('session_ended', `the session has ${session.status}`);
    if (session.running > 0) throw new AtollError('illegal_transition', 'a command runs in the session');
    if (session.status === 'pausing') await session.log.until(() => session.status !== 'pausing', never);
    else if (session.status !== 'paused') await lifecycle.pause(session, PAUSED);
    return showLive(session);
  }

  /** Resolves when it has a sandbox that is ready. Rejects with why it could not be made. */
  async function resume(access: Access, id: string): Promise<Session> {
    const session = await live.get(access, id);
    await wakeSandboxOf(session);
    return showLive(session);
  }

  async function end(access: Access, params: OperationParams<'session.end'>): Promise<Session> {
    const session = await live.get(access, params.sessionId);
    await lifecycle.end(session, ENDED);
    const shown = showLive(session);
    if (params.purge) await retiring.purge(session);
    return shown;
  }

  /** Pauses sessions that nobody used for `idleMs`. */
  async function pauseIdle(idleMs: number): Promise<void> {
    const before = now() - idleMs;
    const end = {
      cause: 'idle',
      detail: `Nothing happened here for ${Math.round(idleMs / 60_000)} minutes.`,
    };
    for (const session of live.all()) {
      if (!isIdle(session) || session.lastUsedMs >= before) continue;
      await lifecycle.pause(session, end).catch((error) => broken(session, error));
    }
  }

  /** For the gateway of that assignment of a session (I6). */
  async function token(
    access: Access,
    { sessionId, epoch }: OperationParams<'session.token.create'>,
  ): Promise<OperationResult<'session.token.create'>> {
    const { tenant } = await assigned(access, { sessionId, epoch });
    return tokens.create({ tenant, sessionId, epoch });
  }

  /** Whose session it is, for a runner that works on it. Rejects with `session_ended`, `stale_epoch` (I6). */
  async function assigned(
    access: Access,
    { sessionId, epoch }: { sessionId: string; epoch: number },
  ): Promise<{ tenant: string; agent: string }> {
    const session = await live.get(access, sessionId);
    if (isOver(session.status)) throw new AtollError('session_ended', `the session has ${session.status}`);
    if (epoch !== session.epoch)
      throw new AtollError('stale_epoch', `the session is at epoch ${session.epoch}, not at ${epoch}`);
    const { tenant, agent } = session.row;
    return { tenant, agent };
  }

  /** The sandbox that runs; a paused session is resumed for it. Rejects with why it could not be. */
  async function wakeSandboxOf(session: LiveSession): Promise<string> {
    const leaving = () => session.status === 'pausing';
    const coming = () => session.status === 'starting' || session.status === 'resuming';
    await session.awaited?.promise;
    await session.log.until(() => !leaving(), never);
    if (session.status === 'paused') await lifecycle.resume(session);
    await session.log.until(() => !coming(), never);
    const { status, sandboxId, detail } = session.state;
    if (isOver(status)) throw new AtollError('session_ended', `the session has ${status}`);
    if (!hasReadySandbox(status) || sandboxId === null)
      throw new AtollError('sandbox_failed', detail ?? `the session is ${status}`);
    return sandboxId;
  }

  /** Runs a shell command in the session's sandbox. It ends when the signal aborts. */
  async function exec(
    access: Access,
    { sessionId, ...command }: OperationParams<'session.exec'>,
    how: { signal: AbortSignal; traceparent: string },
  ): Promise<AsyncIterable<CommandEvent>> {
    const session = await live.get(access, sessionId);
    const sandboxId = await wakeSandboxOf(session);
    session.scanNow();
    await session.scanned;
    return counted(session, execIn(linkOf(session), { sandboxId, epoch: session.epoch }, command, how));
  }

  /** A session is in use while a command runs in its sandbox. */
  async function* counted(
    session: LiveSession,
    events: AsyncIterable<CommandEvent>,
  ): AsyncGenerator<CommandEvent> {
    session.running++;
    try {
      yield* events;
    } finally {
      session.running--;
      session.lastUsedMs = now();
    }
  }

  /** Its sandbox is ready on a runner elsewhere: it goes on there until a server is started again. */
  function outlives({ status, runnerId, awaited }: LiveSession): boolean {
    if (!hasReadySandbox(status) || status === 'pausing' || runnerId === null) return false;
    const runner = runners.find(runnerId);
    return awaited !== undefined || (runner !== undefined && runner.info.link !== 'local');
  }

  /** A session whose sandbox ends with this server is left paused, its turns ended; the others are left as they are. */
  async function stop(): Promise<void> {
    stopping = true;
    const cooled = warm.stop();
    const held = live.all().filter((session) => holdsSandbox(session.status));
    // From here on nothing is written of them, nor acknowledged.
    for (const session of held.filter(outlives)) session.log.close(new AtollError('shutting_down'));
    await Promise.all(
      held
        .filter((session) => !outlives(session))
        .map((session) =>
          recoverSession(recovery, session, SERVER_STOPPED).catch((err) =>
            logger.error(
              { sessionId: session.id, err },
              'could not record the stop; the next start recovers it',
            ),
          ),
        ),
    );
    await cooled;
    await (await comparing)?.close();
  }

  /**
   * Sessions that a stop or a crash left at work, before any request is answered: those whose sandboxes may live on wait for
   * their runners, and each of the others has its `done`. Then runners drop the files that no session has any more.
   */
  async function recoverAll(): Promise<void> {
    const left = await leftBehind(store);
    if (left.length > 0) {
      const until = await lastSign(store);
      const but = await adoption.begin(until);
      await store.commit(countLostSandboxes(until, { but }));
    }
    for (const id of left) await live.load(id);
    await store.commit(leftoverRows(store, SERVER_LOST, { endedAt: new Date(now()).toISOString() }));
    for (const { id } of runners.all()) await sweepRunner(id);
  }

  function onSandboxEnded(runnerId: string, ended: SandboxEnded): void {
    const { sandboxId } = ended;
    warm.sandboxEnded(runnerId, sandboxId);
    for (const session of live.all())
      if (session.state.sandboxId === sandboxId && session.runnerId === runnerId)
        hearEnd(session, ended).catch((error) => broken(session, error));
  }

  /** A running turn tells it itself, after all that it said before. */
  async function hearEnd(session: LiveSession, { sandboxId, cause, detail }: SandboxEnded): Promise<void> {
    // Until it is taken back, nobody reads what it said.
    await session.awaited?.promise;
    const { turn } = session.state;
    if (turn !== null)
      await session.log.until(() => session.state.turn !== turn, AbortSignal.timeout(MAX_TELLING_MS));
    if (session.state.sandboxId === sandboxId) await lifecycle.lost(session, { cause, detail });
  }

  /**
   * Whatever that runner held is over: running turns end `interrupted`, their sessions are paused, and the next message
   * brings them back on a runner that is there, from their last snapshot. Resolves when that is recorded.
   */
  async function onRunnerLost(runnerId: string): Promise<void> {
    const held = live.all().filter((session) => session.runnerId === runnerId);
    const lost = held.map((session) => {
      adoption.known(session);
      return lifecycle.lost(session, RUNNER_LOST).catch((error) => broken(session, error));
    });
    while (await warm.giveWay(runnerId));
    await Promise.all(lost);
  }

  /** Pauses what is idle there, so that it can go elsewhere. */
  async function leaveRunner(runnerId: string): Promise<void> {
    while (await warm.giveWay(runnerId));
    for (const session of live.all()) {
      if (session.runnerId !== runnerId || !isIdle(session)) continue;
      await lifecycle.pause(session, DRAINED).catch((error) => broken(session, error));
    }
  }

  /** Whether a runner is right to hold that sandbox for that session. */
  function holds(runnerId: string, { id, sessionId, epoch }: SandboxInventory): boolean {
    const session = sessionId === undefined ? undefined : live.known(sessionId);
    if (!session || !holdsSandbox(session.status)) return false;
    return session.runnerId === runnerId && session.epoch === epoch && session.state.sandboxId === id;
  }

  /** Of sessions that last: they may need their files again. */
  async function sweepRunner(runnerId: string): Promise<void> {
    const lasting = sql.selectFrom('sessions').select('id').where('runner_id', '=', runnerId);
    const rows = await store.all(lasting.where('status', 'not in', ['ended', 'failed']));
    await runners.link(runnerId).sweep({ keep: rows.map(({ id }) => id) });
  }

  function counts(): { sessions: number; running: number; idle: number; warm: number } {
    const all = live.all();
    return {
      sessions: all.filter((session) => holdsSandbox(session.status)).length,
      running: all.filter((session) => session.state.turn !== null).length,
      idle: all.filter((session) => session.status === 'idle').length,
      warm: warm.size,
    };
  }

  /** Loaded when somebody first looks into the past. */
  async function states(): Promise<States> {
    looking ??= import('./state-at.ts').then(({ createStates }) =>
      createStates({ store, log, live, snapshots, now }),
    );
    return looking;
  }

  /** Loaded when somebody first compares. */
  async function diffs(): Promise<SessionDiffs> {
    comparing ??= import('./diff.ts').then(({ createSessionDiffs }) =>
      createSessionDiffs({ ...options, live, linkOf }),
    );
    return comparing;
  }

  return {
    create,
    diff: async (access: Access, params: OperationParams<'session.diff'>, signal: AbortSignal) =>
      (await diffs()).diff(access, params, signal),
    async snapshots(access: Access, params: OperationParams<'session.snapshots.list'>) {
      await live.get(access, params.sessionId);
      return snapshots.list(params);
    },
    async fork(access: Access, params: OperationParams<'session.fork'>) {
      const { fork } = await import('./fork.ts');
      return showLive(await fork({ store, log, live, agents, snapshots, now }, access, params));
    },
    stateAt: async (access: Access, params: OperationParams<'session.state'>) =>
      (await states()).session(access, params),
    systemAt: async (access: Access, params: OperationParams<'state.show'>) =>
      (await states()).system(access, params),
    get: live.get,
    list,
    show: async (access: Access, id: string) => showLive(await live.get(access, id)),
    send,
    showTurn: turnShown,
    interrupt,
    pause,
    resume,
    end,
    approvals: async (access: Access, params: OperationParams<'approval.list'>) =>
      approvals.list(await live.get(access, params.sessionId), params),
    decide: async (access: Access, params: OperationParams<'approval.decide'>) =>
      approvals.decide(await live.get(access, params.sessionId), params),
    exec,
    bind: reports.bind,
    report: reports.add,
    updateMetadata: reports.updateMetadata,
    recordAccess: reports.addAccess,
    token,
    assigned,
    modelUse,
    filesToRead: async (access: Access, id: string) => files.toRead(await live.get(access, id)),
    filesToWrite: async (access: Access, id: string) => files.toWrite(await live.get(access, id)),
    pauseIdle,
    forgetQuiet: live.forgetQuiet,
    endPaused: retiring.endPaused,
    eraseEnded: retiring.eraseEnded,
    recoverAll,
    stop,
    onSandboxEnded,
    onRunnerLost,
    leaveRunner,
    holds,
    sweepRunner,
    /** Of a runner that registered after this server was started. */
    adopt: (link: RemoteLink, there: readonly SandboxInventory[]) => adoption.adopt(link, there),
    awaitedOn: adoption.placesOn,
    endAbsent: adoption.endAbsent,
    endAwaited: adoption.endAll,
    warm: warm.start,
    agentChanged: warm.agentChanged,
    counts,
    makeRoom,
  };
}

/** Of one whose runner is awaited nobody knows; what it was sent meanwhile waits for that. */
function isIdle({ status, running, awaited }: LiveSession): boolean {
  return status === 'idle' && running === 0 && awaited === undefined;
}
