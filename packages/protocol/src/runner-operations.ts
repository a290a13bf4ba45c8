/**
 * What a runner elsewhere does for its coordinator over HTTP (protocols §2), each declared once: its routes and its
 * OpenAPI document come from this table, and the coordinator's link places what it sends by it. Every call but that for
 * its health carries the callback token that the runner made when it registered.
 *
 * `workspaceId` in a path is a workspace, or a sandbox that works on it.
 */
import * as v from 'valibot';
import { operation } from './operation.ts';
import { newDecision } from './schemas/approval.ts';
import { count, label, nextCursor, page, text } from './schemas/common.ts';
import { hash } from './schemas/internal.ts';
import { tenant, workspaceFile } from './schemas/platform.ts';
import * as link from './schemas/runner-link.ts';

const MiB = 1024 * 1024;
const sandboxId = link.fileId;
const workspaceId = link.fileId;
const after = v.optional(count);
const lastEventId = v.optional(v.pipe(v.string(), v.regex(/^\d{1,15}$/, 'must be a line')));
const done = v.object({});

export const runnerOperations = {
  'health.show': operation({
    kind: 'unary',
    summary: 'Whether the runner works, and how many sandboxes it has',
    role: 'public',
    rest: { method: 'GET', path: '/runner/health' },
    params: v.strictObject({}),
    result: v.object({
      status: v.picklist(['ok', 'stopping']),
      runnerId: v.string(),
      version: v.string(),
      capacity: count,
      sandboxes: count,
    }),
  }),
  'sandbox.list': operation({
    kind: 'unary',
    summary: 'What sandboxes there are, and those that ended and were not heard of yet',
    role: 'admin',
    rest: { method: 'GET', path: '/runner/sandboxes' },
    params: v.strictObject({}),
    result: v.object({ sandboxes: v.array(link.sandboxShown) }),
  }),
  'sandbox.create': operation({
    kind: 'unary',
    summary: 'Make a sandbox; answers when it is ready. The same job again gives the same answer',
    role: 'admin',
    rest: { method: 'POST', path: '/runner/sandboxes', status: 201, maxBodyBytes: 16 * MiB },
    params: v.strictObject(link.newSandbox),
    result: v.object({ sandbox: link.sandboxShown }),
  }),
  'sandbox.claim': operation({
    kind: 'unary',
    summary: 'Give a parked sandbox to its session, once',
    role: 'admin',
    rest: { method: 'POST', path: '/runner/sandboxes/:sandboxId/claim', maxBodyBytes: 16 * MiB },
    params: v.strictObject({ sandboxId, ...link.newClaim }),
    result: done,
  }),
  'sandbox.delete': operation({
    kind: 'unary',
    summary: 'End a sandbox; with `keep` its files stay. Nothing happens to what is already gone',
    role: 'admin',
    rest: { method: 'DELETE', path: '/runner/sandboxes/:sandboxId' },
    params: v.strictObject({
      sandboxId,
      epoch: count,
      /** Whose files; left out: those of the sandbox. */
      workspaceId: v.optional(workspaceId),
      cause: v.optional(label, 'ended'),
      keep: v.optional(v.boolean(), false),
    }),
    result: done,
  }),
  'sandbox.sweep': operation({
    kind: 'unary',
    summary: 'Remove the files of every workspace that is not named and has no sandbox',
    role: 'admin',
    rest: { method: 'POST', path: '/runner/sweep', maxBodyBytes: 64 * MiB },
    params: v.strictObject({ keep: v.array(workspaceId) }),
    result: done,
  }),
  'command.run': operation({
    kind: 'stream',
    summary: 'Run a command and stream what it says; the same commandId again attaches to it',
    role: 'admin',
    rest: {
      method: 'POST',
      path: '/runner/sandboxes/:sandboxId/commands',
      headers: { lastEventId: 'last-event-id' },
      maxBodyBytes: 64 * MiB,
    },
    params: v.strictObject({ sandboxId, ...link.newCommand, lastEventId }),
    result: done,
  }),
  'command.events': operation({
    kind: 'stream',
    summary: 'What a command said after a line, then live, to its end',
    role: 'admin',
    rest: {
      method: 'GET',
      path: '/runner/sandboxes/:sandboxId/commands/:commandId/events',
      headers: { lastEventId: 'last-event-id' },
    },
    params: v.strictObject({ sandboxId, commandId: label, after, lastEventId }),
    result: done,
  }),
  'command.cancel': operation({
    kind: 'unary',
    summary: 'Interrupt a command; it still ends with its `end`',
    role: 'admin',
    rest: { method: 'POST', path: '/runner/sandboxes/:sandboxId/commands/:commandId/cancel' },
    params: v.strictObject({ sandboxId, commandId: label, epoch: count }),
    result: done,
  }),
  'approval.decide': operation({
    kind: 'unary',
    summary: 'Answer what the executor of a command asks for',
    role: 'admin',
    rest: { method: 'POST', path: '/runner/sandboxes/:sandboxId/approvals/:requestId' },
    params: v.strictObject({
      sandboxId,
      requestId: label,
      epoch: count,
      ...newDecision,
      decision: v.picklist(['allow', 'deny', 'cancelled']),
    }),
    result: done,
  }),
  ack: operation({
    kind: 'unary',
    summary: 'What came up to that line is kept elsewhere: of one command, or of all of the sandbox',
    role: 'admin',
    rest: { method: 'POST', path: '/runner/ack' },
    params: v.strictObject({ sandboxId, line: count, commandId: v.optional(label) }),
    result: done,
  }),
  'workspace.snapshot': operation({
    kind: 'unary',
    summary:
      'Take a snapshot of a workspace and its home; all of it is with the coordinator when it is answered',
    role: 'admin',
    rest: { method: 'POST', path: '/runner/sandboxes/:workspaceId/snapshot' },
    params: v.strictObject({
      workspaceId,
      tenant,
      epoch: count,
      base: v.nullable(hash),
      passing: v.exactOptional(v.boolean()),
    }),
    result: link.takenSnapshot,
  }),
  'workspace.restore': operation({
    kind: 'unary',
    summary: 'Put the files of a snapshot in the place of what the workspace holds',
    role: 'admin',
    rest: { method: 'POST', path: '/runner/sandboxes/:workspaceId/restore' },
    params: v.strictObject({ workspaceId, tenant, epoch: count, root: hash }),
    result: done,
  }),
  'files.list': operation({
    kind: 'unary',
    summary: 'List what is in a workspace, at any depth',
    role: 'admin',
    rest: { method: 'GET', path: '/runner/sandboxes/:workspaceId/files' },
    params: v.strictObject({ workspaceId, prefix: v.optional(text), ...page }),
    result: v.object({ files: v.array(workspaceFile), nextCursor }),
  }),
  'files.read': operation({
    kind: 'bytes',
    summary: 'Read a workspace file, or a piece of it',
    role: 'admin',
    rest: { method: 'GET', path: '/runner/sandboxes/:workspaceId/files/*path', bytes: 'out' },
    params: v.strictObject({
      workspaceId,
      path: v.string(),
      offset: v.optional(count),
      length: v.optional(count),
    }),
    result: v.unknown(),
  }),
  'files.write': operation({
    kind: 'bytes',
    summary: 'Write a workspace file',
    role: 'admin',
    rest: { method: 'PUT', path: '/runner/sandboxes/:workspaceId/files/*path', bytes: 'in' },
    params: v.strictObject({ workspaceId, path: v.string() }),
    result: v.object({ sizeBytes: count, created: v.boolean() }),
  }),
  'files.delete': operation({
    kind: 'unary',
    summary: 'Remove a workspace file or folder',
    role: 'admin',
    rest: { method: 'DELETE', path: '/runner/sandboxes/:workspaceId/files/*path' },
    params: v.strictObject({ workspaceId, path: v.string() }),
    result: done,
  }),
} as const;

export type RunnerOperationName = keyof typeof runnerOperations;
export type RunnerOperationParams<N extends RunnerOperationName> = v.InferOutput<
  (typeof runnerOperations)[N]['params']
>;
export type RunnerOperationResult<N extends RunnerOperationName> = v.InferOutput<
  (typeof runnerOperations)[N]['result']
>;
