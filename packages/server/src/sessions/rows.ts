/** Rows of sessions and turns: how they are read, written, and shown. */
import type { Session, Turn } from '@atoll/protocol/schemas/session';
import { prepared } from '../store/prepared.ts';
import type { Step, Store } from '../store/store.ts';
import type { SessionRow, TurnRow } from '../store/tables.ts';
import type { Conversation, SessionState } from './fold.ts';
import type { BoundExecutor, Reported } from './reported.ts';

/** What of a session in memory goes into its row, and is shown. */
type SessionFields = {
  readonly id: string;
  readonly row: SessionRow;
  readonly state: SessionState;
  readonly durableState: SessionState;
  readonly log: { readonly durableSeq: number };
  readonly epoch: number;
  readonly runnerId: string | null;
  readonly reported: Reported;
  readonly durableReported: Reported;
  readonly updatedAt: string;
  readonly endedAt: string | null;
};

const sessionUpdate = prepared<SessionRow, keyof SessionChange | 'id'>(
  [
    'id',
    'status',
    'cause',
    'detail',
    'epoch',
    'runner_id',
    'sandbox_id',
    'usage',
    'binding',
    'metadata',
    'updated_at',
    'ended_at',
  ],
  (sql, { id, ...change }) =>
    sql.updateTable('sessions').set(change).where('id', '=', id).where('epoch', '<=', change.epoch),
);

type SessionChange = Omit<
  SessionRow,
  | 'id'
  | 'tenant'
  | 'agent'
  | 'agent_version'
  | 'log_id'
  | 'parent_id'
  | 'parent_seq'
  | 'snapshot_seq'
  | 'settings'
  | 'created_at'
>;

export function updateSession(store: Store, session: SessionFields): Step {
  const { state } = session;
  const query = sessionUpdate(store, {
    id: session.id,
    status: state.status,
    cause: state.cause,
    detail: state.detail,
    epoch: session.epoch,
    runner_id: session.runnerId,
    sandbox_id: state.sandboxId,
    usage: JSON.stringify(state.usage),
    binding: bindingColumn(state, session.reported),
    metadata: JSON.stringify(session.reported.metadata),
    updated_at: session.updatedAt,
    ended_at: session.endedAt,
  });
  return { query, mustChange: { code: 'stale_epoch' } };
}

/** Those that have not ended, in the order in which they were accepted. */
export function selectOpenTurns(store: Store, sessionId: string) {
  return store.sql
    .selectFrom('turns')
    .selectAll()
    .where('session_id', '=', sessionId)
    .where('status', 'in', ['queued', 'running'])
    .orderBy('input_seq');
}

const turnInsert = prepared<TurnRow, keyof TurnRow>(
  [
    'id',
    'tenant',
    'session_id',
    'epoch',
    'status',
    'cause',
    'detail',
    'input_seq',
    'start_seq',
    'done_seq',
    'usage',
    'partials',
    'idempotency_key',
    'request_hash',
    'created_at',
    'ended_at',
  ],
  (sql, row) => sql.insertInto('turns').values(row),
);

export function insertTurn(store: Store, row: TurnRow): Step {
  return { query: turnInsert(store, row) };
}

const sessionInsert = prepared<SessionRow, keyof SessionRow>(
  [
    'id',
    'tenant',
    'agent',
    'agent_version',
    'status',
    'cause',
    'detail',
    'epoch',
    'runner_id',
    'sandbox_id',
    'log_id',
    'parent_id',
    'parent_seq',
    'snapshot_seq',
    'settings',
    'metadata',
    'usage',
    'binding',
    'created_at',
    'updated_at',
    'ended_at',
  ],
  (sql, row) => sql.insertInto('sessions').values(row),
);

export function insertSession(store: Store, row: SessionRow): Step {
  return { query: sessionInsert(store, row) };
}

type TurnKey = 'session_id' | 'id';

const turnStart = prepared<TurnRow, TurnKey | 'status' | 'start_seq' | 'epoch'>(
  ['session_id', 'id', 'status', 'start_seq', 'epoch'],
  (sql, { session_id, id, ...start }) =>
    sql.updateTable('turns').set(start).where('session_id', '=', session_id).where('id', '=', id),
);

export function startTurn(store: Store, start: Parameters<typeof turnStart>[1]): Step {
  return { query: turnStart(store, start) };
}

const turnEnd = prepared<
  TurnRow,
  TurnKey | 'status' | 'cause' | 'detail' | 'done_seq' | 'usage' | 'partials' | 'ended_at'
>(
  ['session_id', 'id', 'status', 'cause', 'detail', 'done_seq', 'usage', 'partials', 'ended_at'],
  (sql, { session_id, id, ...end }) =>
    sql.updateTable('turns').set(end).where('session_id', '=', session_id).where('id', '=', id),
);

export function closeTurn(store: Store, end: Parameters<typeof turnEnd>[1]): Step {
  return { query: turnEnd(store, end) };
}

/** In the column `binding`: the conversation that a resumed executor goes on with, and who said that it is bound. */
type BindingColumn = Partial<Conversation> & { bound?: BoundExecutor | null };

/** The conversation that the session's next sandbox goes on with. */
export function conversationIn(row: SessionRow): Conversation {
  const { executorSessionId, executorBranches } = JSON.parse(row.binding) as BindingColumn;
  return {
    executorSessionId: executorSessionId ?? null,
    executorBranches: executorBranches ?? false,
  };
}

export function bindingColumn(state: SessionState, { bound }: Reported): string {
  const { executorSessionId, executorBranches } = state;
  return JSON.stringify({ executorSessionId, executorBranches, bound } satisfies BindingColumn);
}

export function reportedIn(row: SessionRow): Reported {
  const { bound = null } = JSON.parse(row.binding) as BindingColumn;
  return { bound, metadata: JSON.parse(row.metadata) as Record<string, unknown> };
}

export function showLive(session: SessionFields): Session {
  const { row, durableState: state, durableReported } = session;
  return {
    ...show(row, session.log.durableSeq),
    status: state.status,
    cause: state.cause,
    detail: state.detail,
    usage: state.usage,
    runnerId: session.runnerId,
    sandboxId: state.sandboxId,
    turn: state.turn,
    queuedTurns: state.queue.length,
    binding: showBinding(durableReported.bound, state.executorSessionId),
    metadata: durableReported.metadata,
    updatedAt: session.updatedAt,
    endedAt: session.endedAt,
  };
}

/** A session that is not in memory: it has no turn under way. */
export function show(row: SessionRow, lastSeq: number): Session {
  const { bound, metadata } = reportedIn(row);
  return {
    id: row.id,
    agent: row.agent,
    agentVersion: row.agent_version,
    status: row.status,
    cause: row.cause,
    detail: row.detail,
    usage: JSON.parse(row.usage) as Record<string, unknown>,
    lastSeq,
    runnerId: row.runner_id,
    sandboxId: row.sandbox_id,
    turn: null,
    queuedTurns: 0,
    binding: showBinding(bound, conversationIn(row).executorSessionId),
    metadata,
    parent: row.parent_id === null ? null : { sessionId: row.parent_id, seq: row.parent_seq ?? 0 },
    snapshotSeq: row.snapshot_seq,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    endedAt: row.ended_at,
  };
}

function showBinding(bound: BoundExecutor | null, conversation: string | null): Session['binding'] {
  return (
    bound ?? { executorSessionId: conversation, projectDir: null, hostname: null, executorProfile: null }
  );
}

export function showTurn(row: TurnRow): Turn {
  return {
    id: row.id,
    sessionId: row.session_id,
    status: row.status,
    cause: row.cause,
    detail: row.detail,
    inputSeq: row.input_seq,
    doneSeq: row.done_seq,
    usage: row.usage === null ? null : (JSON.parse(row.usage) as Record<string, unknown>),
    createdAt: row.created_at,
    endedAt: row.ended_at,
  };
}
