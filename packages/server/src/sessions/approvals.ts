/**
 * What an agent asks of people: requested → resolved, by whoever answers first, by the end of its turn, or never.
 *
 * A request is durable before anybody sees it, and a decision before the executor hears it (I1). When the executor
 * dies, its requests stay open while the session can go on: whatever is decided then answers the same call (tool and
 * input) once, when it is made again. A turn that comes to an orderly end leaves nothing open behind it.
 */
import { createHash } from 'node:crypto';
import { type ApprovalDecision, MAX_OPEN_APPROVALS } from '@atoll/protocol/approvals';
import { AtollError } from '@atoll/protocol/errors';
import type { EventData } from '@atoll/protocol/events';
import { newId } from '@atoll/protocol/ids';
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import type { CommandEnd, CommandEvent, RunnerLink } from '@atoll/protocol/runner-link';
import type { Approval } from '@atoll/protocol/schemas/approval';
import { id } from '@atoll/protocol/schemas/common';
import { cursorAt, paged } from '../store/cursor.ts';
import type { Step, Store } from '../store/store.ts';
import type { ApprovalRow } from '../store/tables.ts';
import type { StateEvent } from './fold.ts';
import { type AskedAt, type LiveSession, type LiveTurn, runningTurn } from './live-session.ts';

type Asked = Extract<CommandEvent, { kind: 'approval' }>;
/** Each may be of MAX_APPROVAL_BYTES. */
const MAX_PAGE = 2 * MAX_OPEN_APPROVALS;

export type AskedRow = {
  id: string;
  requestId: string;
  open: boolean;
  decision: ApprovalDecision | undefined;
};

type Recorded = { events: StateEvent[]; rows: Step[] };

export type Approvals = {
  /**
   * The executor asks. Resolves when that is durable with its line, with true; with false when it is answered with what was
   * decided before, and that line stands nowhere.
   */
  requested(session: LiveSession, turn: LiveTurn, asked: Asked): Promise<boolean>;
  /** Rejects with `not_found`, and with `already_decided` for all but the first. */
  decide(session: LiveSession, params: OperationParams<'approval.decide'>): Promise<Approval>;
  list(
    session: LiveSession,
    params: OperationParams<'approval.list'>,
  ): Promise<OperationResult<'approval.list'>>;
  /** What the end of the running turn, or of the session, does to what is open; to be recorded with it. */
  closing(session: LiveSession, end: Pick<CommandEnd, 'status' | 'cause'>): Recorded;
};

export function createApprovals(options: {
  store: Store;
  now: () => number;
  linkOf: (session: LiveSession) => RunnerLink;
}): Approvals {
  const { store, now, linkOf } = options;
  const { sql } = store;
  const timestamp = () => new Date(now()).toISOString();

  const update = (id: string, change: Partial<ApprovalRow>): Step => ({
    query: sql.updateTable('approvals').set(change).where('id', '=', id),
  });

  async function requested(session: LiveSession, turn: LiveTurn, asked: Asked): Promise<boolean> {
    const { requestId, request, line } = asked;
    const { sandboxId } = session.state;
    if (sandboxId === null) throw new AtollError('internal', 'a sandbox asks that nobody knows');
    const at = { sandboxId, epoch: session.epoch, requestId };
    const asker = { turn_id: turn.id, epoch: session.epoch, request_id: requestId };
    const known = session.unheard.get(requestId);
    if (known) {
      await answer(session, at, known);
      return false;
    }
    const callHash = hashOf(request);
    const [before] = [...session.decided].filter(([, decided]) => decided.callHash === callHash);
    if (before) {
      const [approvalId, { decision }] = before;
      session.decided.delete(approvalId);
      await session.record([], [update(approvalId, { spent: 1, ...asker })]);
      await answer(session, at, decision);
      return false;
    }
    const orphan = session.state.approvals.find(
      (open) => !session.asked.has(open.approvalId) && hashOf(open) === callHash,
    );
    const approvalId = orphan?.approvalId ?? newId('approval');
    const row = orphan
      ? update(approvalId, asker)
      : {
          query: sql
            .insertInto('approvals')
            .values(newRow(session, { ...asker, approvalId, callHash, request })),
        };
    const room = orphan ? { events: [], rows: [] } : roomForOneMore(session);
    session.asked.set(approvalId, at);
    const event = { event: 'approval', data: { approvalId, status: 'requested', ...request } } as const;
    const waiting = session.status === 'running' ? [session.statusEvent('approval_requested')] : [];
    await session.record([...room.events, event, ...waiting], [...room.rows, row], { line });
    return true;
  }

  /** As many as may wait in one sandbox stay open, whoever asked: the oldest that lost executors left make room. */
  function roomForOneMore(session: LiveSession): Recorded {
    const { approvals } = session.state;
    const orphans = approvals.filter(({ approvalId }) => !session.asked.has(approvalId));
    const excess = Math.max(0, approvals.length + 1 - MAX_OPEN_APPROVALS);
    return cancelled(orphans.slice(0, excess), () => 'executor_lost');
  }

  function cancelled(
    open: readonly EventData<'approval'>[],
    causeOf: (approvalId: string) => string,
  ): Recorded {
    const recorded: Recorded = { events: [], rows: [] };
    for (const asked of open) {
      const cause = causeOf(asked.approvalId);
      const data = { ...asked, status: 'resolved', decision: 'cancelled', cause } as const;
      recorded.events.push({ event: 'approval', data });
      const change = { status: 'resolved', decision: '{"decision":"cancelled"}', cause, spent: 1 } as const;
      recorded.rows.push(update(asked.approvalId, { ...change, resolved_at: timestamp() }));
    }
    return recorded;
  }

  function newRow(
    session: LiveSession,
    asked: {
      approvalId: string;
      turn_id: string;
      epoch: number;
      request_id: string;
      callHash: string;
      request: Asked['request'];
    },
  ): ApprovalRow {
    const { approvalId, turn_id, epoch, request_id, callHash, request } = asked;
    return {
      id: approvalId,
      tenant: session.row.tenant,
      session_id: session.id,
      turn_id,
      epoch,
      request_id,
      status: 'requested',
      kind: request.kind,
      tool: request.tool,
      input: JSON.stringify(request.input),
      options: JSON.stringify(request.options),
      call_hash: callHash,
      decision: null,
      cause: null,
      spent: 0,
      created_at: timestamp(),
      resolved_at: null,
    };
  }

  async function decide(session: LiveSession, params: OperationParams<'approval.decide'>): Promise<Approval> {
    const { approvalId } = params;
    const row = await find(session, approvalId);
    // That its turn is to stop stands nowhere while its runner is awaited: another restart would leave it open.
    if (runningTurn(session)?.interrupted) await session.awaited?.promise;
    // From here to the record nothing waits, so that of two answers one is the first.
    const open = session.state.approvals.find((known) => known.approvalId === approvalId);
    const at = session.asked.get(approvalId);
    if (!open || (at && runningTurn(session)?.interrupted)) throw new AtollError('already_decided');
    if (params.answers !== undefined && open.kind !== 'question')
      throw new AtollError(
        'invalid_request',
        'answers are for questions; this is a tool that needs permission',
      );
    const decision = decisionOf(params);
    const json = JSON.stringify(decision);
    const change = { status: 'resolved' as const, decision: json, resolved_at: timestamp() };
    const event = { event: 'approval', data: { ...open, status: 'resolved', ...decision } } as const;
    if (at === undefined) {
      session.decided.set(approvalId, { callHash: hashOf(open), decision });
      await session.record([event], [update(approvalId, change)]);
    } else {
      session.asked.delete(approvalId);
      const last = session.asked.size === 0 && session.status === 'waiting';
      const goesOn = last ? [session.statusEvent('approvals_resolved')] : [];
      await session.record([event, ...goesOn], [update(approvalId, { ...change, spent: 1 })]);
      await answer(session, at, decision);
    }
    return showApproval({ ...row, ...change });
  }

  /** A sandbox that is gone, or another turn's by now, needs no answer: that turn has its end. */
  async function answer(session: LiveSession, at: AskedAt, decision: ApprovalDecision): Promise<void> {
    await linkOf(session)
      .decide({ ...at, decision })
      .catch(() => undefined);
  }

  async function find(session: LiveSession, id: string): Promise<ApprovalRow> {
    const query = sql.selectFrom('approvals').selectAll().where('id', '=', id);
    const row = await store.first(query.where('session_id', '=', session.id));
    if (!row) throw new AtollError('not_found', `no approval ${id}`);
    return row;
  }

  async function list(
    session: LiveSession,
    { status, limit, cursor }: OperationParams<'approval.list'>,
  ): Promise<OperationResult<'approval.list'>> {
    const most = Math.min(limit, MAX_PAGE);
    let query = sql
      .selectFrom('approvals')
      .selectAll()
      .where('session_id', '=', session.id)
      .where('status', '=', status)
      .orderBy('id')
      .limit(most + 1);
    if (cursor !== undefined) query = query.where('id', '>', cursorAt(id('approval'), cursor));
    const { page, nextCursor } = paged(await store.all(query), most, ({ id }) => id);
    return { approvals: page.map(showApproval), nextCursor };
  }

  function closing(session: LiveSession, end: Pick<CommandEnd, 'status' | 'cause'>): Recorded {
    const { approvals } = session.state;
    const asked = new Set(session.asked.keys());
    session.asked.clear();
    session.unheard.clear();
    const orderly = end.status === 'completed' || end.cause === 'interrupted' || end.cause === 'ended';
    if (!orderly || (approvals.length === 0 && session.decided.size === 0)) return { events: [], rows: [] };
    const unheard = [...session.decided.keys()].map((id) => update(id, { spent: 1 }));
    session.decided.clear();
    const { events, rows } = cancelled(approvals, (id) =>
      asked.has(id) ? (end.cause ?? 'turn_ended') : 'executor_lost',
    );
    return { events, rows: [...unheard, ...rows] };
  }

  return { requested, decide, list, closing };
}

/** What a session that is loaded must know: what is open, and what was decided and not heard. */
export async function unspentApprovals(store: Store, sessionId: string): Promise<ApprovalRow[]> {
  const query = store.sql.selectFrom('approvals').selectAll().where('session_id', '=', sessionId);
  return store.all(query.where('spent', '=', 0).orderBy('id'));
}

/** Of the sandbox that the session has, what its running turn asked for. */
export async function askedIn(store: Store, session: LiveSession): Promise<AskedRow[]> {
  const { turn } = session.state;
  if (turn === null) return [];
  const query = store.sql
    .selectFrom('approvals')
    .select(['id', 'request_id', 'status', 'decision'])
    .where('session_id', '=', session.id)
    .where('turn_id', '=', turn)
    .where('epoch', '=', session.epoch);
  const rows = await store.all(query);
  return rows.flatMap(({ id, request_id: requestId, status, decision }) =>
    requestId === null ? [] : { id, requestId, open: status === 'requested', decision: decided(decision) },
  );
}

/** Its event when it was requested, which is what state holds of it. */
export function requestOf(row: ApprovalRow): EventData<'approval'> {
  const { id: approvalId, kind, tool } = row;
  const input = JSON.parse(row.input) as Record<string, unknown>;
  const options = JSON.parse(row.options) as Approval['options'];
  return { approvalId, status: 'requested', kind, tool, input, options };
}

function decisionOf({ decision, message, answers }: OperationParams<'approval.decide'>): ApprovalDecision {
  return {
    decision,
    ...(message === undefined ? {} : { message }),
    ...(answers === undefined ? {} : { answers }),
  };
}

function decided(column: string | null): ApprovalDecision | undefined {
  return column === null ? undefined : (JSON.parse(column) as ApprovalDecision);
}

function showApproval(row: ApprovalRow): Approval {
  const { kind, tool, input, options } = requestOf(row);
  const decision = decided(row.decision);
  return {
    id: row.id,
    sessionId: row.session_id,
    turnId: row.turn_id,
    status: row.status,
    kind,
    tool,
    input,
    options,
    decision: decision?.decision ?? null,
    message: decision?.message ?? null,
    answers: decision?.answers ?? null,
    cause: row.cause,
    createdAt: row.created_at,
    resolvedAt: row.resolved_at,
  };
}

/** The same for the same tool and input, in whatever order its members come. SHA-256, hex. */
export function hashOf({ tool, input }: { tool: string; input: unknown }): string {
  return createHash('sha256')
    .update(canonical([tool, input]))
    .digest('hex');
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, held: unknown) =>
    typeof held === 'object' && held !== null && !Array.isArray(held)
      ? Object.fromEntries(Object.entries(held).sort(([a], [b]) => (a < b ? -1 : 1)))
      : held,
  );
}
