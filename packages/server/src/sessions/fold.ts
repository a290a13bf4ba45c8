/**
 * A session's state as the fold of its log (I5). Live state is made by this same fold, event by event as they are
 * appended, so that the two cannot differ; a restart and a look into the past fold the log again.
 */
import type { EventData, Usage } from '@atoll/protocol/events';
import type { SessionStatus } from '@atoll/protocol/statuses';

export type SessionState = {
  readonly status: SessionStatus;
  readonly cause: string | null;
  readonly detail: string | null;
  /** The running turn. */
  readonly turn: string | null;
  /** Accepted turns that have not started, in order. */
  readonly queue: readonly string[];
  /** What waits for a decision, as it was requested, in order. */
  readonly approvals: readonly EventData<'approval'>[];
  readonly usage: Usage;
  readonly sandboxId: string | null;
  /** The executor's conversation. */
  readonly executorSessionId: string | null;
  /** It is that of the session that this one was forked from: to be branched off, not gone on with. */
  readonly executorBranches: boolean;
};

export type Conversation = Pick<SessionState, 'executorSessionId' | 'executorBranches'>;

/** The events that change state. Everything else in a log (messages above all) leaves it as it is. */
export type StateEvent =
  | { event: 'input'; data: EventData<'input'> }
  | { event: 'status'; data: EventData<'status'> }
  | { event: 'approval'; data: EventData<'approval'> }
  | { event: 'done'; data: EventData<'done'> };

export const initialState: SessionState = {
  status: 'starting',
  cause: null,
  detail: null,
  turn: null,
  queue: [],
  approvals: [],
  usage: {},
  sandboxId: null,
  executorSessionId: null,
  executorBranches: false,
};

export function fold(state: SessionState, { event, data }: StateEvent): SessionState {
  switch (event) {
    case 'input':
      return { ...state, queue: [...state.queue, data.turnId] };
    case 'status':
      return foldStatus(state, data);
    case 'approval':
      return foldApproval(state, data);
    case 'done':
      return {
        ...state,
        turn: state.turn === data.turnId ? null : state.turn,
        queue: state.queue.filter((id) => id !== data.turnId),
        usage: addUsage(state.usage, data.usage ?? {}),
        ...conversationAfter(state, data),
      };
  }
}

function conversationAfter(
  { executorSessionId, executorBranches }: Conversation,
  done: EventData<'done'>,
): Conversation {
  if (done.executorSessionId === undefined) return { executorSessionId, executorBranches };
  return { executorSessionId: done.executorSessionId, executorBranches: false };
}

function foldStatus(state: SessionState, data: EventData<'status'>): SessionState {
  const started = data.status === 'running' && data.turnId !== undefined ? data.turnId : undefined;
  return {
    ...state,
    status: data.status,
    cause: data.cause ?? null,
    detail: data.detail ?? null,
    turn: started ?? state.turn,
    queue: started === undefined ? state.queue : state.queue.filter((id) => id !== started),
    sandboxId: data.sandboxId ?? state.sandboxId,
    ...(data.fork === undefined ? {} : forked(data.fork)),
  };
}

/** What its parent had in a sandbox is not the fork's. */
function forked({
  executorSessionId,
}: NonNullable<EventData<'status'>['fork']>): Pick<SessionState, 'sandboxId' | keyof Conversation> {
  const executorBranches = executorSessionId !== undefined;
  return { sandboxId: null, executorSessionId: executorSessionId ?? null, executorBranches };
}

/** One that is requested again, by the next executor, is the same one. */
function foldApproval(state: SessionState, data: EventData<'approval'>): SessionState {
  const others = state.approvals.filter(({ approvalId }) => approvalId !== data.approvalId);
  return { ...state, approvals: data.status === 'requested' ? [...others, data] : others };
}

export function addUsage(total: Usage, more: Record<string, unknown>): Usage {
  const sum: Record<string, unknown> = { ...total };
  for (const [name, value] of Object.entries(more)) {
    if (typeof value !== 'number') continue;
    const held = sum[name];
    sum[name] = typeof held === 'number' ? held + value : value;
  }
  return sum as Usage;
}
