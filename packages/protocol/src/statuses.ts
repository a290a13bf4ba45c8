/** Every status a client can see. What leads from one to the next stands in the server's transition tables. */

export const sessionStatuses = [
  'starting',
  'idle',
  'running',
  'waiting',
  'pausing',
  'paused',
  'resuming',
  'ended',
  'failed',
] as const;
export type SessionStatus = (typeof sessionStatuses)[number];

export const turnStatuses = ['queued', 'running', 'completed', 'failed', 'interrupted'] as const;
export type TurnStatus = (typeof turnStatuses)[number];

export const sandboxStatuses = ['pending', 'starting', 'ready', 'frozen', 'ended', 'failed'] as const;
export type SandboxStatus = (typeof sandboxStatuses)[number];

export const runnerStatuses = ['available', 'busy', 'draining', 'lost'] as const;
export type RunnerStatus = (typeof runnerStatuses)[number];

export const jobStatuses = ['pending', 'running', 'completed', 'failed'] as const;
export type JobStatus = (typeof jobStatuses)[number];

export const jobTypes = ['create', 'delete', 'snapshot', 'restore'] as const;
export type JobType = (typeof jobTypes)[number];
