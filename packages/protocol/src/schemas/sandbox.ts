import * as v from 'valibot';
import { jobStatuses, jobTypes, sandboxStatuses } from '../statuses.ts';
import { demands, limits } from './agent.ts';
import { cause, count, env, id, image, label, time } from './common.ts';

const MAX_WAIT_MS = 30 * 24 * 3600_000;

/** What a bare sandbox is made with. An `image` is a demand, too: not every driver has images. */
export const newSandbox = {
  name: v.optional(v.pipe(label, v.minLength(1))),
  image: v.optional(image),
  cpu: limits.entries.cpu,
  memoryMb: limits.entries.memoryMb,
  env: v.optional(env),
  allowSecretEnv: v.optional(v.boolean()),
  /** How long it may live from its start on. */
  timeoutMs: v.optional(v.pipe(count, v.minValue(1000), v.maxValue(MAX_WAIT_MS))),
  demands: v.optional(demands),
  /** Begins with these files, which a sandbox of the same tenant had. */
  snapshotId: v.optional(id('snapshot')),
};

export const sandbox = v.object({
  id: id('sandbox'),
  name: v.nullable(v.string()),
  /** null: a bare one. */
  sessionId: v.nullable(id('session')),
  /** null: it has no place yet. */
  runnerId: v.nullable(v.string()),
  epoch: count,
  status: v.picklist(sandboxStatuses),
  ...cause,
  image: v.nullable(v.string()),
  /** As asked for; null: what the runner gives where nobody says. */
  cpu: v.nullable(v.number()),
  memoryMb: v.nullable(count),
  timeoutMs: v.nullable(count),
  /** What it began with; null: nothing. */
  snapshotId: v.nullable(id('snapshot')),
  createdAt: time,
  readyAt: v.nullable(time),
  endedAt: v.nullable(time),
});
export type Sandbox = v.InferOutput<typeof sandbox>;

export const job = v.object({
  id: id('job'),
  type: v.picklist(jobTypes),
  sandboxId: id('sandbox'),
  sessionId: v.nullable(id('session')),
  runnerId: v.nullable(v.string()),
  /** What it takes, or puts in place. */
  snapshotId: v.nullable(id('snapshot')),
  epoch: count,
  status: v.picklist(jobStatuses),
  /** How often a runner was asked, or looked for. */
  attempts: count,
  /** Why it failed; of a pending one, why it is tried again. */
  ...cause,
  createdAt: time,
  updatedAt: time,
});
export type Job = v.InferOutput<typeof job>;
