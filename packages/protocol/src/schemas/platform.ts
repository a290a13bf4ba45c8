import * as v from 'valibot';
import { count, id, label, time } from './common.ts';

/** Workspace files, exec, keys, health: what is neither agent nor session. */

export const roles = ['admin', 'client', 'runner'] as const;
export type Role = (typeof roles)[number];

export const workspaceFile = v.object({
  path: v.string(),
  type: v.picklist(['file', 'directory', 'symlink', 'other']),
  sizeBytes: count,
  mode: count,
  modifiedAt: time,
});

export const execResult = v.object({
  exitCode: v.nullable(v.number()),
  timedOut: v.boolean(),
  stdout: v.string(),
  stderr: v.string(),
  /** Output beyond 8 MiB a stream is left out of the JSON answer; the SSE answer has all of it. */
  truncated: v.boolean(),
  /** Why it did not end by itself (I10). */
  cause: v.optional(v.string()),
  detail: v.optional(v.string()),
});

export const tenant = v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'must be a tenant name'));

export const key = v.object({
  id: id('key'),
  tenant,
  role: v.picklist(roles),
  name: v.nullable(label),
  createdAt: time,
  expiresAt: v.nullable(time),
});
export type Key = v.InferOutput<typeof key>;

export const health = v.object({
  status: v.picklist(['ok', 'stopping']),
  version: v.string(),
  uptimeMs: count,
  sessions: count,
  pool: v.object({ capacity: count, reserved: count, running: count, idle: count, warm: count }),
});
export type Health = v.InferOutput<typeof health>;
