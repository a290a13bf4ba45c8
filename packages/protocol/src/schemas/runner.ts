import * as v from 'valibot';
import { runnerStatuses } from '../statuses.ts';
import { count, id, label, time } from './common.ts';

/** Runners: what they say of themselves when they register, and what is shown of them. */

/** Chosen by who starts it; the same name again is the same runner. */
export const runnerId = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be 1-64 letters, digits, ".", "_" or "-"'),
);

const names = v.pipe(v.array(label), v.maxLength(100));

const labels = v.pipe(
  v.record(v.pipe(label, v.minLength(1)), label),
  v.check((entries) => Object.keys(entries).length <= 64, 'at most 64 labels'),
);

const described = {
  hostname: label,
  /** Where the coordinator reaches it: a URL. */
  address: v.pipe(v.string(), v.maxLength(1024)),
  capacity: v.pipe(count, v.maxValue(10_000)),
  labels,
  executorProfiles: names,
  drivers: names,
  version: label,
};

export const newRegistration = {
  runnerId,
  ...described,
  protocolVersion: count,
  /** What the coordinator proves itself with when it calls the runner. */
  callbackToken: v.pipe(v.string(), v.regex(/^[\w.~+/=-]{16,256}$/, 'must be 16-256 characters of a token')),
  /** Chosen anew by each process: who asks again with the same one still has what it had. */
  incarnation: v.optional(
    v.pipe(v.string(), v.regex(/^[\w-]{1,64}$/, 'must be 1-64 letters, digits, "_" or "-"')),
  ),
};

export const registrationId = id('job');

/** How long a runner may act without hearing of its coordinator, and how often it should ask. */
export const lease = v.object({ leaseMs: count, heartbeatMs: count, until: time });

/** A sandbox that ended without being asked to, as a heartbeat tells it. */
export const endedSandbox = v.strictObject({
  sandboxId: label,
  sessionId: v.optional(label),
  epoch: count,
  cause: label,
  detail: v.pipe(v.string(), v.maxLength(16 * 1024)),
});

export const runner = v.object({
  id: v.string(),
  ...described,
  link: v.picklist(['local', 'http', 'grpc']),
  status: v.picklist(runnerStatuses),
  /** null: it runs in the coordinator's own process, and has no lease. */
  lease: v.nullable(v.object({ until: time })),
  reserved: count,
});
export type RunnerShown = v.InferOutput<typeof runner>;
