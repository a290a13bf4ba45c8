/**
 * Where statuses change (I5). Each table is total: every status × every trigger has an entry, the next status or
 * null for "illegal", and the compiler checks that none is forgotten. `move` is the only way from one status to the
 * next; an illegal move is a typed error, never a silent write.
 */
import { AtollError } from '@atoll/protocol/errors';
import type { JobStatus, SandboxStatus, SessionStatus, TurnStatus } from '@atoll/protocol/statuses';

export type Table<Status extends string, Trigger extends string> = Readonly<
  Record<Status, Readonly<Record<Trigger, Status | null>>>
>;

export type SessionTrigger =
  | 'sandbox_ready'
  | 'sandbox_failed'
  | 'sandbox_lost'
  | 'turn_started'
  | 'turn_ended'
  | 'approval_requested'
  | 'approvals_resolved'
  | 'pause_requested'
  | 'paused'
  | 'resume_requested'
  | 'end_requested';

const dead = {
  sandbox_ready: null,
  sandbox_failed: null,
  sandbox_lost: null,
  turn_started: null,
  turn_ended: null,
  approval_requested: null,
  approvals_resolved: null,
  pause_requested: null,
  paused: null,
  resume_requested: null,
  end_requested: null,
} as const;

export const sessionTable: Table<SessionStatus, SessionTrigger> = {
  starting: {
    ...dead,
    sandbox_ready: 'idle',
    sandbox_failed: 'failed',
    sandbox_lost: 'failed',
    end_requested: 'ended',
  },
  idle: {
    ...dead,
    turn_started: 'running',
    sandbox_lost: 'paused',
    pause_requested: 'pausing',
    end_requested: 'ended',
  },
  running: {
    ...dead,
    turn_ended: 'idle',
    approval_requested: 'waiting',
    sandbox_lost: 'paused',
    end_requested: 'ended',
  },
  waiting: {
    ...dead,
    turn_ended: 'idle',
    approval_requested: 'waiting',
    approvals_resolved: 'running',
    sandbox_lost: 'paused',
    end_requested: 'ended',
  },
  pausing: { ...dead, paused: 'paused', sandbox_lost: 'paused', end_requested: 'ended' },
  paused: { ...dead, resume_requested: 'resuming', end_requested: 'ended' },
  resuming: {
    ...dead,
    sandbox_ready: 'idle',
    sandbox_failed: 'paused',
    sandbox_lost: 'paused',
    end_requested: 'ended',
  },
  // Ending twice is no error: the second one finds it done.
  ended: { ...dead, end_requested: 'ended' },
  failed: { ...dead, end_requested: 'ended' },
};

export type TurnTrigger = 'started' | 'completed' | 'failed' | 'interrupted';

export const turnTable: Table<TurnStatus, TurnTrigger> = {
  queued: { started: 'running', completed: null, failed: 'failed', interrupted: 'interrupted' },
  running: { started: null, completed: 'completed', failed: 'failed', interrupted: 'interrupted' },
  completed: { started: null, completed: null, failed: null, interrupted: null },
  failed: { started: null, completed: null, failed: null, interrupted: null },
  interrupted: { started: null, completed: null, failed: null, interrupted: null },
};

export type SandboxTrigger = 'assigned' | 'ready' | 'frozen' | 'thawed' | 'ended' | 'failed';

export const sandboxTable: Table<SandboxStatus, SandboxTrigger> = {
  pending: {
    assigned: 'starting',
    ready: null,
    frozen: null,
    thawed: null,
    ended: 'ended',
    failed: 'failed',
  },
  starting: { assigned: null, ready: 'ready', frozen: null, thawed: null, ended: 'ended', failed: 'failed' },
  ready: { assigned: null, ready: null, frozen: 'frozen', thawed: null, ended: 'ended', failed: 'failed' },
  frozen: { assigned: null, ready: null, frozen: null, thawed: 'ready', ended: 'ended', failed: 'failed' },
  ended: { assigned: null, ready: null, frozen: null, thawed: null, ended: null, failed: null },
  failed: { assigned: null, ready: null, frozen: null, thawed: null, ended: null, failed: null },
};

export type JobTrigger = 'assigned' | 'completed' | 'failed' | 'retried';

export const jobTable: Table<JobStatus, JobTrigger> = {
  pending: { assigned: 'running', completed: null, failed: 'failed', retried: null },
  running: { assigned: null, completed: 'completed', failed: 'failed', retried: 'pending' },
  completed: { assigned: null, completed: null, failed: null, retried: null },
  failed: { assigned: null, completed: null, failed: null, retried: null },
};

/** The next status, or AtollError `illegal_transition`. */
export function move<Status extends string, Trigger extends string>(
  table: Table<Status, Trigger>,
  from: Status,
  trigger: Trigger,
): Status {
  const next = table[from][trigger];
  if (next === null) throw new AtollError('illegal_transition', `${trigger} is not possible while ${from}`);
  return next;
}

/** A session in one of these has a sandbox, or is getting one. */
export function holdsSandbox(status: SessionStatus): boolean {
  return status !== 'paused' && status !== 'ended' && status !== 'failed';
}

/** The session's latest sandbox is up. */
export function hasReadySandbox(status: SessionStatus): boolean {
  return holdsSandbox(status) && status !== 'starting' && status !== 'resuming';
}

export function isOver(status: SessionStatus): boolean {
  return status === 'ended' || status === 'failed';
}
