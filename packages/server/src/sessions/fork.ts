/**
 * Forks: a new session with another one's events up to some seq, which it shares and never copies, and then its own.
 *
 * One commit makes all of it, whatever the parent does meanwhile: the log with the fork's own first events, its row, its
 * checkpoint, and the snapshot that its files will begin with. Those events say what is true of the fork and was not of
 * its parent: nothing is asked any more, no turn runs or waits, and it is paused, so that it takes no sandbox before
 * somebody has a message for it.
 */
import { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import { concatBytes } from '@atoll/protocol/lines';
import type { OperationParams } from '@atoll/protocol/operations';
import type { Agents } from '../agents/agents.ts';
import type { Access } from '../keys/access.ts';
import { frameEvent } from '../log/frames.ts';
import type { Log } from '../log/log.ts';
import type { Snapshot, Snapshots } from '../snapshots/snapshots.ts';
import type { Step, Store } from '../store/store.ts';
import type { SessionRow } from '../store/tables.ts';
import { checkpointAt, foldAt } from './checkpoints.ts';
import { fold, type SessionState, type StateEvent } from './fold.ts';
import type { LiveSession } from './live-session.ts';
import type { LiveSessions } from './live-sessions.ts';
import type { Reported } from './reported.ts';
import { bindingColumn } from './rows.ts';
import { placeAt } from './state-at.ts';

export type ForkOptions = {
  store: Store;
  log: Log;
  live: Pick<LiveSessions, 'get' | 'load'>;
  agents: Pick<Agents, 'version'>;
  snapshots: Pick<Snapshots, 'nearest' | 'inherit'>;
  now: () => number;
};

/** What a fork is made of. */
type Origin = {
  row: SessionRow;
  seq: number;
  snapshot: Snapshot | undefined;
  executorSessionId: string | null;
};

/** Rejects with `not_found`, also for an agent that is gone, with `invalid_cursor` where there is nothing to fork, and with `seq_compacted`. */
export async function fork(
  options: ForkOptions,
  access: Access,
  { sessionId, at }: OperationParams<'session.fork'>,
): Promise<LiveSession> {
  const { store, log, live, agents, snapshots } = options;
  const { row } = await live.get(access, sessionId);
  const { seq } = await placeAt(options, row.log_id, at);
  if (seq === 0)
    throw new AtollError('invalid_cursor', 'the session has no event by then that a fork could have');
  await agents.version(row.tenant, row.agent, row.agent_version);
  const snapshot = await snapshots.nearest(row.id, seq);
  const executorSessionId = await conversationAt(log, row, snapshot);
  const shared = await foldAt(log, { logId: row.log_id, seq });
  const id = newId('session');
  const steps = forkSteps(options, { row, seq, snapshot, executorSessionId }, { id, ...shared });
  await commitWhole({ store, log }, { logId: row.log_id, seq }, steps);
  return live.load(id);
}

const ATTEMPTS = 5;

/** A fork shares all of a run of events that was compacted, or nothing of it. */
async function commitWhole(
  { store, log }: Pick<ForkOptions, 'store' | 'log'>,
  place: { logId: string; seq: number },
  steps: readonly Step[],
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const unchanged = await log.whole(place);
    try {
      return await store.commit([unchanged, ...steps]);
    } catch (error) {
      const compacted = error instanceof AtollError && error.code === 'illegal_transition';
      if (!compacted || attempt === ATTEMPTS) throw error;
    }
  }
}

/** What the executor remembers is among the files, so it is as old as they are. */
async function conversationAt(
  log: Log,
  { log_id: logId }: SessionRow,
  snapshot: Snapshot | undefined,
): Promise<string | null> {
  if (snapshot === undefined) return null;
  return (await foldAt(log, { logId, seq: snapshot.seq })).state.executorSessionId;
}

function forkSteps(
  { store, log, snapshots, now }: ForkOptions,
  origin: Origin,
  shared: { id: string; state: SessionState; reported: Reported },
): Step[] {
  const { row: parent, seq, snapshot } = origin;
  const { id, reported } = shared;
  const { tenant } = parent;
  const events = ownEvents(origin, shared);
  const lastSeq = seq + events.length;
  const state = events.reduce(fold, shared.state);
  const row = forkRow(origin, { id, state, reported, createdAt: new Date(now()).toISOString() });
  const frames = events.map(({ event, data }, i) =>
    frameEvent({ seq: seq + 1 + i, event, data: JSON.stringify(data) }),
  );
  const place = { id, tenant, sessionId: id, epoch: row.epoch, createdAt: row.created_at };
  return [
    ...log.create({
      ...place,
      parent: { logId: parent.log_id, seq },
      first: { lastSeq, frames: concatBytes(frames) },
    }),
    { query: store.sql.insertInto('sessions').values(row) },
    checkpointAt({ log, logId: id, tenant }, lastSeq, { state, reported }),
    ...(snapshot === undefined ? [] : [snapshots.inherit(snapshot, { sessionId: id, tenant })]),
  ];
}

function ownEvents(
  { row: parent, seq, snapshot, executorSessionId }: Origin,
  { id, state }: { id: string; state: SessionState },
): StateEvent[] {
  const why = { cause: 'forked', detail: 'The session was forked before that was over.' };
  const cancelled = state.approvals.map((open): StateEvent => {
    const data = { ...open, status: 'resolved', decision: 'cancelled', cause: why.cause } as const;
    return { event: 'approval', data };
  });
  const open = state.turn === null ? state.queue : [state.turn, ...state.queue];
  const ended = open.map((turnId): StateEvent => {
    return { event: 'done', data: { sessionId: id, turnId, status: 'interrupted', ...why } };
  });
  const from = {
    sessionId: parent.id,
    seq,
    snapshotSeq: snapshot?.seq ?? null,
    ...(executorSessionId === null ? {} : { executorSessionId }),
  };
  // Where a fork begins, as others begin by starting: no move from its parent's status.
  const data = { status: 'paused', cause: why.cause, detail: whatItHas(from), fork: from } as const;
  return [...cancelled, ...ended, { event: 'status', data }];
}

function whatItHas({
  sessionId,
  seq,
  snapshotSeq,
}: {
  sessionId: string;
  seq: number;
  snapshotSeq: number | null;
}) {
  const has =
    snapshotSeq === null
      ? 'There is no snapshot by then: it begins with the agent’s folder, and its agent remembers nothing.'
      : `Its files, and what its agent remembers, are those of event ${snapshotSeq}.`;
  return `It was forked from ${sessionId} after event ${seq}. ${has}`;
}

function forkRow(
  { row: parent, seq, snapshot }: Origin,
  made: { id: string; state: SessionState; reported: Reported; createdAt: string },
): SessionRow {
  const { id, state, reported, createdAt } = made;
  return {
    ...parent,
    id,
    status: state.status,
    cause: state.cause,
    detail: state.detail,
    epoch: 0,
    runner_id: null,
    sandbox_id: null,
    log_id: id,
    parent_id: parent.id,
    parent_seq: seq,
    snapshot_seq: snapshot?.seq ?? null,
    metadata: JSON.stringify(reported.metadata),
    usage: JSON.stringify(state.usage),
    binding: bindingColumn(state, reported),
    created_at: createdAt,
    updated_at: createdAt,
    ended_at: null,
  };
}
