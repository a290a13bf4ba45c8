/**
 * What was there at a moment: a session, or the whole system. Nothing here is taken from memory: of now it is the same
 * fold of the same log as of any other moment (I5), and so costs the same and cannot differ from it.
 *
 * An event counts from the time of its commit, which is given before the commit is done. So a moment is answered when
 * nothing can be written at it any more: the clock is past it, and every commit that had begun by then is done.
 */
import { setTimeout as delay, setImmediate } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import { firstIdOf } from '@atoll/protocol/ids';
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import { id } from '@atoll/protocol/schemas/common';
import type { StateOfRunner, StateOfSandbox, StateOfSession } from '@atoll/protocol/schemas/state';
import type { Access } from '../keys/access.ts';
import type { Log } from '../log/log.ts';
import type { Snapshots } from '../snapshots/snapshots.ts';
import { cursorAt, paged } from '../store/cursor.ts';
import type { Store } from '../store/store.ts';
import type { SandboxRow, SessionRow } from '../store/tables.ts';
import { foldAt } from './checkpoints.ts';
import type { LiveSessions } from './live-sessions.ts';

export type StatesOptions = {
  store: Store;
  log: Log;
  live: Pick<LiveSessions, 'get'>;
  snapshots: Pick<Snapshots, 'nearest'>;
  now: () => number;
};

export type States = {
  /** Rejects with `not_found`, and with `invalid_cursor` for a seq past the end. */
  session(
    access: Access,
    params: OperationParams<'session.state'>,
  ): Promise<OperationResult<'session.state'>>;
  system(access: Access, params: OperationParams<'state.show'>): Promise<OperationResult<'state.show'>>;
};

/** A place in a log, and how it was named. */
export type Place = { seq: number; asOf: string | number };

type Listed = Pick<SessionRow, 'id' | 'log_id' | 'parent_seq'>;

export function createStates({ store, log, live, snapshots, now }: StatesOptions): States {
  const { sql } = store;

  async function session(
    access: Access,
    { sessionId, at }: OperationParams<'session.state'>,
  ): Promise<OperationResult<'session.state'>> {
    const { row } = await live.get(access, sessionId);
    const { seq, asOf } = await placeAt({ store, log, now }, row.log_id, at);
    return { asOf, session: seq === 0 ? null : await stateOf(row, seq, asOf) };
  }

  async function stateOf(
    { id, log_id: logId }: Listed,
    seq: number,
    asOf: string | number,
  ): Promise<StateOfSession> {
    const { state } = await foldAt(log, { logId, seq });
    const { status, cause, turn, approvals, usage } = state;
    // At a seq it is what belongs there; at a time, what was there by then.
    const begunBy = typeof asOf === 'string' ? asOf : undefined;
    const snapshotSeq = (await snapshots.nearest(id, seq, begunBy))?.seq ?? null;
    return { id, status, cause, turn, approvals: [...approvals], usage, lastSeq: seq, snapshotSeq };
  }

  async function system(
    access: Access,
    { at, limit, cursor }: OperationParams<'state.show'>,
  ): Promise<OperationResult<'state.show'>> {
    const asOf = await settled({ store, now }, at);
    let query = sql
      .selectFrom('sessions')
      .select(['id', 'log_id', 'parent_seq'])
      .where('id', '<', firstIdOf('session', Date.parse(asOf) + 1))
      .orderBy('id', 'desc')
      .limit(limit + 1);
    if (!access.crossesTenants) query = query.where('tenant', '=', access.tenant);
    if (cursor !== undefined) query = query.where('id', '<', cursorAt(id('session'), cursor));
    const { page, nextCursor } = paged<Listed>(await store.all(query), limit, ({ id }) => id);
    const sessions: StateOfSession[] = [];
    for (const row of page) {
      const seq = await log.seqAt({ logId: row.log_id, time: asOf });
      // It is there from its own first event on; a fork had its parent's before it was made.
      if (seq > (row.parent_seq ?? 0)) sessions.push(await stateOf(row, seq, asOf));
      // Each takes a moment of this thread, which has other requests to answer.
      await setImmediate();
    }
    const there = await sandboxesAt(asOf);
    const sandboxes = there.filter((row) => access.may(row.tenant)).map((row) => showSandbox(row, asOf));
    return { asOf, sessions, sandboxes, runners: await runnersAt(access, asOf, there), nextCursor };
  }

  function sandboxesAt(time: string): Promise<SandboxRow[]> {
    const query = sql.selectFrom('sandboxes').selectAll().where('created_at', '<=', time).orderBy('id');
    return store.all(query.where((row) => row.or([row('ended_at', 'is', null), row('ended_at', '>', time)])));
  }

  async function runnersAt(
    access: Access,
    time: string,
    sandboxes: readonly SandboxRow[],
  ): Promise<StateOfRunner[]> {
    let query = sql
      .selectFrom('registrations')
      .selectAll()
      .where('created_at', '<=', time)
      .where((row) => row.or([row('ended_at', 'is', null), row('ended_at', '>', time)]))
      .orderBy('runner_id');
    if (!access.crossesTenants) query = query.where('tenant', '=', access.tenant);
    return (await store.all(query)).map(({ runner_id: id, hostname, capacity }) => {
      // A place is taken by each sandbox that is there, and by nothing else.
      const reserved = sandboxes.filter((sandbox) => sandbox.runner_id === id).length;
      return { id, hostname, status: reserved < capacity ? 'available' : 'busy', capacity, reserved };
    });
  }

  return { session, system };
}

/** The place in a log that a moment names; 0 is before its beginning. Rejects with `invalid_cursor` past its end. */
export async function placeAt(
  { store, log, now }: { store: Store; log: Log; now: () => number },
  logId: string,
  at: string | number | undefined,
): Promise<Place> {
  const seq = typeof at === 'number' || (at !== undefined && /^\d+$/.test(at)) ? Number(at) : undefined;
  if (seq === undefined) {
    const time = await settled({ store, now }, at as string | undefined);
    return { seq: await log.seqAt({ logId, time }), asOf: time };
  }
  const { lastSeq = 0 } = (await log.head(logId)) ?? {};
  if (seq > lastSeq)
    throw new AtollError('invalid_cursor', `seq ${seq} is past the end of the log, which is ${lastSeq}`);
  return { seq, asOf: seq };
}

/** The moment that was asked for, or now, once nothing can be committed at it any more. */
async function settled(
  { store, now }: { store: Store; now: () => number },
  at: string | undefined,
): Promise<string> {
  const ms = Math.min(at === undefined ? Number.POSITIVE_INFINITY : Date.parse(at), now());
  while (now() <= ms) await delay(1);
  // Commits are done in order: after one of nothing, all that began before it are.
  await store.commit([]);
  return new Date(ms).toISOString();
}

function showSandbox(row: SandboxRow, time: string): StateOfSandbox {
  const { id, session_id: sessionId, runner_id: runnerId, ready_at: readyAt } = row;
  return { id, sessionId, runnerId, status: readyAt !== null && readyAt <= time ? 'ready' : 'starting' };
}
