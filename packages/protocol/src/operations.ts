/**
 * The public operations, each declared once. Wires are made from this table: HTTP routes and OpenAPI in the server,
 * JSON-RPC methods for the desktop.
 */
import * as v from 'valibot';
import { internalOperations } from './internal-operations.ts';
import { operation } from './operation.ts';
import * as agents from './schemas/agent.ts';
import * as approvals from './schemas/approval.ts';
import {
  agentName,
  count,
  day,
  env,
  id,
  jsonObject,
  nextCursor,
  noNul,
  page,
  seq,
  time,
} from './schemas/common.ts';
import * as credentials from './schemas/credential.ts';
import { workspaceDiff } from './schemas/diff.ts';
import * as platform from './schemas/platform.ts';
import { runner, runnerId } from './schemas/runner.ts';
import * as sandboxes from './schemas/sandbox.ts';
import * as sessions from './schemas/session.ts';
import { sandboxSnapshot, snapshot } from './schemas/snapshot.ts';
import * as states from './schemas/state.ts';
import * as usage from './schemas/usage.ts';
import { jobStatuses, jobTypes, sandboxStatuses, sessionStatuses } from './statuses.ts';

const MiB = 1024 * 1024;
const sessionId = id('session');
const sessionResult = v.object({ session: sessions.session });
const sandboxId = id('sandbox');
const sandboxResult = v.object({ sandbox: sandboxes.sandbox });
const sandboxJob = v.object({ sandbox: sandboxes.sandbox, job: sandboxes.job });
const shellCommand = {
  // One argument of a process, which has a NUL at its end.
  command: v.pipe(
    v.string(),
    v.minLength(1),
    v.maxLength(128 * 1024),
    v.maxBytes(128 * 1024 - 1, 'must have less than 128 KiB'),
    noNul,
  ),
  timeoutMs: v.optional(v.pipe(count, v.minValue(1), v.maxValue(24 * 3600_000))),
  cwd: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(1024), noNul)),
};
const written = v.object({ file: v.object({ path: v.string(), sizeBytes: count, created: v.boolean() }) });

export const operations = {
  'health.show': operation({
    kind: 'unary',
    summary: 'Whether the server works, and how much room it has',
    role: 'public',
    rest: { method: 'GET', path: '/health' },
    params: v.strictObject({}),
    result: platform.health,
  }),
  'metrics.show': operation({
    kind: 'text',
    summary: 'Metrics in the Prometheus text format',
    role: 'client',
    rest: { method: 'GET', path: '/metrics' },
    params: v.strictObject({}),
    result: v.string(),
  }),

  'agent.deploy': operation({
    kind: 'unary',
    summary: 'Store an agent folder; a new version when its content differs',
    role: 'client',
    rest: { method: 'POST', path: '/api/agents', status: 201, maxBodyBytes: 64 * MiB },
    params: v.strictObject({
      name: agentName,
      files: v.array(agents.agentFile),
      env: v.optional(env),
      allowSecretEnv: v.optional(v.boolean()),
      executorProfile: v.optional(v.string()),
      demands: v.optional(agents.demands),
    }),
    result: v.object({ agent: agents.agent }),
  }),
  'agent.list': operation({
    kind: 'unary',
    summary: 'List agents',
    role: 'client',
    rest: { method: 'GET', path: '/api/agents' },
    params: v.strictObject(page),
    result: v.object({ agents: v.array(agents.agent), nextCursor }),
  }),
  'agent.show': operation({
    kind: 'unary',
    summary: 'One agent with its versions',
    role: 'client',
    rest: { method: 'GET', path: '/api/agents/:name' },
    params: v.strictObject({ name: agentName }),
    result: v.object({ agent: agents.agentWithVersions }),
  }),
  'agent.delete': operation({
    kind: 'unary',
    summary: 'Remove an agent and its versions; refused while sessions live',
    role: 'client',
    rest: { method: 'DELETE', path: '/api/agents/:name' },
    params: v.strictObject({ name: agentName }),
    result: v.object({ agent: agents.agent }),
  }),

  'session.create': operation({
    kind: 'unary',
    summary: 'Open a session; answers when its sandbox is ready',
    role: 'client',
    rest: { method: 'POST', path: '/api/sessions', status: 201, maxBodyBytes: 4 * MiB },
    params: v.strictObject(sessions.newSession),
    result: sessionResult,
  }),
  'session.list': operation({
    kind: 'unary',
    summary: 'List sessions, newest first',
    role: 'client',
    rest: { method: 'GET', path: '/api/sessions' },
    params: v.strictObject({
      agent: v.optional(agentName),
      status: v.optional(v.picklist(sessionStatuses)),
      /** Only the forks of this session. */
      parent: v.optional(sessionId),
      ...page,
    }),
    result: v.object({ sessions: v.array(sessions.session), nextCursor }),
  }),
  'session.show': operation({
    kind: 'unary',
    summary: 'One session',
    role: 'client',
    rest: { method: 'GET', path: '/api/sessions/:sessionId' },
    bySession: true,
    params: v.strictObject({ sessionId }),
    result: sessionResult,
  }),
  'session.state': operation({
    kind: 'unary',
    summary: 'The session as it was at a time or seq; without one, as it is now',
    role: 'client',
    rest: { method: 'GET', path: '/api/sessions/:sessionId/state' },
    params: v.strictObject({ sessionId, at: v.optional(states.moment) }),
    result: v.object({ asOf: states.asOf, session: v.nullable(states.stateOfSession) }),
  }),
  'state.show': operation({
    kind: 'unary',
    summary:
      'The whole system as it was at a time: sessions, newest first, the sandboxes and runners there were',
    role: 'client',
    rest: { method: 'GET', path: '/api/state' },
    params: v.strictObject({ at: v.optional(time), ...page }),
    result: v.object({
      asOf: states.asOf,
      sessions: v.array(states.stateOfSession),
      sandboxes: v.array(states.stateOfSandbox),
      runners: v.array(states.stateOfRunner),
      nextCursor,
    }),
  }),
  'session.fork': operation({
    kind: 'unary',
    summary:
      'A new session with the events of this one up to a seq or time, and its files as they were there; paused',
    role: 'client',
    rest: { method: 'POST', path: '/api/sessions/:sessionId/fork', status: 201 },
    params: v.strictObject({ sessionId, at: v.optional(states.moment) }),
    result: sessionResult,
  }),
  'session.diff': operation({
    kind: 'unary',
    summary:
      'What changed in the workspace between two points, by path: from the beginning without `from`, to now without `to`',
    role: 'client',
    rest: { method: 'GET', path: '/api/sessions/:sessionId/diff' },
    params: v.strictObject({
      sessionId,
      from: v.optional(states.moment),
      to: v.optional(states.moment),
      ...page,
    }),
    result: workspaceDiff,
  }),
  'session.send': operation({
    kind: 'stream',
    summary: 'Send a message; streams its turn, or answers 202 with the turn when JSON is asked for',
    role: 'client',
    rest: {
      method: 'POST',
      path: '/api/sessions/:sessionId/messages',
      jsonStatus: 202,
      headers: { idempotencyKey: 'idempotency-key' },
      maxBodyBytes: 64 * MiB,
    },
    params: v.strictObject({
      sessionId,
      ...sessions.newMessage,
      idempotencyKey: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(255))),
    }),
    result: v.object({ turn: sessions.turn }),
  }),
  'session.events': operation({
    kind: 'stream',
    summary: 'The log: replay after a seq, then live (SSE); or one page of it (JSON)',
    role: 'client',
    rest: {
      method: 'GET',
      path: '/api/sessions/:sessionId/events',
      headers: { lastEventId: 'last-event-id' },
      jsonFirst: true,
    },
    bySession: true,
    params: v.strictObject({
      sessionId,
      after: v.optional(seq),
      lastEventId: v.optional(v.pipe(v.string(), v.regex(/^\d{1,15}$/, 'must be a seq'))),
      ...page,
    }),
    result: v.object({ events: v.array(sessions.sessionEvent), nextCursor }),
  }),
  'session.interrupt': operation({
    kind: 'unary',
    summary: 'Stop the running turn, and the queued ones too when asked; the session stays',
    role: 'client',
    rest: { method: 'POST', path: '/api/sessions/:sessionId/interrupt' },
    params: v.strictObject({ sessionId, queued: v.optional(v.boolean(), false) }),
    result: sessionResult,
  }),
  'session.pause': operation({
    kind: 'unary',
    summary: 'Free the sandbox of an idle session after a snapshot of its files; a message resumes it',
    role: 'client',
    rest: { method: 'POST', path: '/api/sessions/:sessionId/pause' },
    params: v.strictObject({ sessionId }),
    result: sessionResult,
  }),
  'session.resume': operation({
    kind: 'unary',
    summary:
      'Give a paused session a sandbox, with its files and its conversation; answers when that is ready',
    role: 'client',
    rest: { method: 'POST', path: '/api/sessions/:sessionId/resume' },
    params: v.strictObject({ sessionId }),
    result: sessionResult,
  }),
  'session.end': operation({
    kind: 'unary',
    summary: 'End a session; its log stays readable unless it is purged',
    role: 'client',
    rest: { method: 'DELETE', path: '/api/sessions/:sessionId' },
    params: v.strictObject({ sessionId, purge: v.optional(v.boolean(), false) }),
    result: sessionResult,
  }),
  'session.exec': operation({
    kind: 'stream',
    summary: 'Run a shell command in the sandbox; streams its output, or answers with all of it as JSON',
    role: 'client',
    rest: { method: 'POST', path: '/api/sessions/:sessionId/exec' },
    params: v.strictObject({
      sessionId,
      ...shellCommand,
    }),
    result: platform.execResult,
  }),

  'session.snapshots.list': operation({
    kind: 'unary',
    summary:
      'The snapshots of a session’s files, oldest first; of a fork, those since it was forked and the one it began with',
    role: 'client',
    rest: { method: 'GET', path: '/api/sessions/:sessionId/snapshots' },
    params: v.strictObject({ sessionId, ...page }),
    result: v.object({ snapshots: v.array(snapshot), nextCursor }),
  }),

  'approval.list': operation({
    kind: 'unary',
    summary: 'What the agent asks for, oldest first: what waits for a decision, or what was resolved',
    role: 'client',
    rest: { method: 'GET', path: '/api/sessions/:sessionId/approvals' },
    params: v.strictObject({
      sessionId,
      status: v.optional(v.picklist(approvals.approvalStatuses), 'requested'),
      ...page,
    }),
    result: v.object({ approvals: v.array(approvals.approval), nextCursor }),
  }),
  'approval.decide': operation({
    kind: 'unary',
    summary: 'Answer what the agent asks for; the first answer counts, a later one is refused',
    role: 'client',
    rest: { method: 'POST', path: '/api/sessions/:sessionId/approvals/:approvalId' },
    params: v.strictObject({ sessionId, approvalId: id('approval'), ...approvals.newDecision }),
    result: v.object({ approval: approvals.approval }),
  }),
  'session.bind': operation({
    kind: 'unary',
    summary: 'Say which executor works for a session, and where; the same again is no error',
    role: 'client',
    bySession: true,
    rest: { method: 'POST', path: '/api/sessions/:sessionId/bind' },
    params: v.strictObject({ sessionId, ...sessions.newBinding }),
    result: sessionResult,
  }),
  'session.report': operation({
    kind: 'unary',
    summary: 'Log a `report` of the executor; its data is the body',
    role: 'client',
    bySession: true,
    rest: { method: 'POST', path: '/api/sessions/:sessionId/events', status: 201 },
    params: v.looseObject({ sessionId, ...sessions.newReport }),
    result: v.object({ seq }),
  }),
  'session.metadata.update': operation({
    kind: 'unary',
    summary: 'Merge the body into the metadata (RFC 7396): null removes a member',
    role: 'client',
    bySession: true,
    rest: {
      method: 'PATCH',
      path: '/api/sessions/:sessionId/metadata',
      maxBodyBytes: sessions.maxMetadataBytes,
    },
    params: v.looseObject({ sessionId }),
    result: v.object({ metadata: jsonObject }),
  }),
  'session.files.list': operation({
    kind: 'unary',
    summary: 'List what is in the workspace, at any depth',
    role: 'client',
    rest: { method: 'GET', path: '/api/sessions/:sessionId/files' },
    bySession: true,
    params: v.strictObject({ sessionId, prefix: v.optional(v.string()), ...page }),
    result: v.object({ files: v.array(platform.workspaceFile), nextCursor }),
  }),
  'session.files.read': operation({
    kind: 'bytes',
    summary: 'Read a workspace file, or a piece of it',
    role: 'client',
    rest: { method: 'GET', path: '/api/sessions/:sessionId/files/*path', bytes: 'out' },
    params: v.strictObject({
      sessionId,
      path: v.string(),
      offset: v.optional(count, 0),
      length: v.optional(count),
    }),
    result: v.unknown(),
  }),
  'session.files.write': operation({
    kind: 'bytes',
    summary: 'Write a workspace file',
    role: 'client',
    rest: { method: 'PUT', path: '/api/sessions/:sessionId/files/*path', bytes: 'in' },
    params: v.strictObject({ sessionId, path: v.string() }),
    result: written,
  }),
  'session.files.delete': operation({
    kind: 'unary',
    summary: 'Remove a workspace file or folder',
    role: 'client',
    rest: { method: 'DELETE', path: '/api/sessions/:sessionId/files/*path' },
    params: v.strictObject({ sessionId, path: v.string() }),
    result: v.object({ path: v.string() }),
  }),

  'sandbox.create': operation({
    kind: 'unary',
    summary: 'Make a sandbox without an agent; answers with its job at once, or with `wait` when it is ready',
    role: 'client',
    rest: {
      method: 'POST',
      path: '/api/sandboxes',
      status: 202,
      statusWhen: { param: 'wait', status: 201 },
      query: ['wait'],
    },
    params: v.strictObject({ ...sandboxes.newSandbox, wait: v.optional(v.boolean(), false) }),
    result: sandboxJob,
  }),
  'sandbox.list': operation({
    kind: 'unary',
    summary: 'List sandboxes, those of sessions too, newest first',
    role: 'client',
    rest: { method: 'GET', path: '/api/sandboxes' },
    params: v.strictObject({
      status: v.optional(v.picklist(sandboxStatuses)),
      name: v.optional(sandboxes.newSandbox.name.wrapped),
      ...page,
    }),
    result: v.object({ sandboxes: v.array(sandboxes.sandbox), nextCursor }),
  }),
  'sandbox.show': operation({
    kind: 'unary',
    summary: 'One sandbox',
    role: 'client',
    rest: { method: 'GET', path: '/api/sandboxes/:sandboxId' },
    params: v.strictObject({ sandboxId }),
    result: sandboxResult,
  }),
  'sandbox.delete': operation({
    kind: 'unary',
    summary: 'End a sandbox and remove its files; answers with the job, or with `wait` when it is gone',
    role: 'client',
    rest: {
      method: 'DELETE',
      path: '/api/sandboxes/:sandboxId',
      status: 202,
      statusWhen: { param: 'wait', status: 200 },
    },
    params: v.strictObject({ sandboxId, wait: v.optional(v.boolean(), false) }),
    result: sandboxJob,
  }),
  'sandbox.exec': operation({
    kind: 'stream',
    summary: 'Run a shell command in a sandbox; streams its output, or answers with all of it as JSON',
    role: 'client',
    rest: { method: 'POST', path: '/api/sandboxes/:sandboxId/exec' },
    params: v.strictObject({ sandboxId, ...shellCommand }),
    result: platform.execResult,
  }),
  'sandbox.snapshot': operation({
    kind: 'unary',
    summary:
      'Keep the files of a sandbox as they are; answers with the job at once, or with `wait` when they are kept',
    role: 'client',
    rest: {
      method: 'POST',
      path: '/api/sandboxes/:sandboxId/snapshot',
      status: 202,
      statusWhen: { param: 'wait', status: 201 },
      query: ['wait'],
    },
    params: v.strictObject({ sandboxId, wait: v.optional(v.boolean(), false) }),
    result: v.object({ job: sandboxes.job, snapshot: v.nullable(sandboxSnapshot) }),
  }),
  'sandbox.snapshots.list': operation({
    kind: 'unary',
    summary: 'The snapshots of a sandbox, oldest first, also when it has ended',
    role: 'client',
    rest: { method: 'GET', path: '/api/sandboxes/:sandboxId/snapshots' },
    params: v.strictObject({ sandboxId, ...page }),
    result: v.object({ snapshots: v.array(sandboxSnapshot), nextCursor }),
  }),
  'sandbox.snapshots.delete': operation({
    kind: 'unary',
    summary: 'Forget a snapshot of a sandbox; what nothing else holds is removed within hours',
    role: 'client',
    rest: { method: 'DELETE', path: '/api/sandboxes/:sandboxId/snapshots/:snapshotId' },
    params: v.strictObject({ sandboxId, snapshotId: id('snapshot') }),
    result: v.object({ snapshot: sandboxSnapshot }),
  }),
  'sandbox.files.list': operation({
    kind: 'unary',
    summary: 'List what is in the workspace of a sandbox, at any depth',
    role: 'client',
    rest: { method: 'GET', path: '/api/sandboxes/:sandboxId/files' },
    params: v.strictObject({ sandboxId, prefix: v.optional(v.string()), ...page }),
    result: v.object({ files: v.array(platform.workspaceFile), nextCursor }),
  }),
  'sandbox.files.read': operation({
    kind: 'bytes',
    summary: 'Read a file of a sandbox, or a piece of it',
    role: 'client',
    rest: { method: 'GET', path: '/api/sandboxes/:sandboxId/files/*path', bytes: 'out' },
    params: v.strictObject({
      sandboxId,
      path: v.string(),
      offset: v.optional(count, 0),
      length: v.optional(count),
    }),
    result: v.unknown(),
  }),
  'sandbox.files.write': operation({
    kind: 'bytes',
    summary: 'Write a file of a sandbox',
    role: 'client',
    rest: { method: 'PUT', path: '/api/sandboxes/:sandboxId/files/*path', bytes: 'in' },
    params: v.strictObject({ sandboxId, path: v.string() }),
    result: written,
  }),
  'sandbox.files.delete': operation({
    kind: 'unary',
    summary: 'Remove a file or folder of a sandbox',
    role: 'client',
    rest: { method: 'DELETE', path: '/api/sandboxes/:sandboxId/files/*path' },
    params: v.strictObject({ sandboxId, path: v.string() }),
    result: v.object({ path: v.string() }),
  }),

  'job.list': operation({
    kind: 'unary',
    summary: 'List jobs, newest first: what runners were asked to do with sandboxes',
    role: 'client',
    rest: { method: 'GET', path: '/api/jobs' },
    params: v.strictObject({
      status: v.optional(v.picklist(jobStatuses)),
      type: v.optional(v.picklist(jobTypes)),
      sandboxId: v.optional(sandboxId),
      sessionId: v.optional(sessionId),
      ...page,
    }),
    result: v.object({ jobs: v.array(sandboxes.job), nextCursor }),
  }),
  'job.show': operation({
    kind: 'unary',
    summary: 'One job',
    role: 'client',
    rest: { method: 'GET', path: '/api/jobs/:jobId' },
    params: v.strictObject({ jobId: id('job') }),
    result: v.object({ job: sandboxes.job }),
  }),

  'usage.show': operation({
    kind: 'unary',
    summary: 'What was used, by day (newest first), agent or session, with the sum of all of it',
    role: 'client',
    rest: { method: 'GET', path: '/api/usage' },
    params: v.strictObject({
      by: v.optional(v.picklist(usage.usageKeys), 'day'),
      /** Days of UTC, both of them included. */
      from: v.optional(day),
      to: v.optional(day),
      agent: v.optional(agentName),
      session: v.optional(sessionId),
      ...page,
    }),
    result: v.object({
      by: v.picklist(usage.usageKeys),
      usage: v.array(usage.usageItem),
      totals: usage.usageSums,
      nextCursor,
    }),
  }),

  'runner.list': operation({
    kind: 'unary',
    summary: 'List runners, those that are lost too',
    role: 'client',
    rest: { method: 'GET', path: '/api/runners' },
    params: v.strictObject(page),
    result: v.object({ runners: v.array(runner), nextCursor }),
  }),
  'runner.show': operation({
    kind: 'unary',
    summary: 'One runner',
    role: 'client',
    rest: { method: 'GET', path: '/api/runners/:runnerId' },
    params: v.strictObject({ runnerId }),
    result: v.object({ runner }),
  }),
  'runner.drain': operation({
    kind: 'unary',
    summary: 'Place no more sandboxes on a runner; those that are there stay',
    role: 'admin',
    rest: { method: 'POST', path: '/api/runners/:runnerId/drain' },
    params: v.strictObject({ runnerId }),
    result: v.object({ runner }),
  }),

  'credential.set': operation({
    kind: 'unary',
    summary:
      'Store a secret for gateways, in place of an earlier one of that name; its value is never given back',
    role: 'client',
    rest: { method: 'POST', path: '/api/credentials', status: 201 },
    params: v.strictObject(credentials.newCredential),
    result: v.object({ credential: credentials.credential }),
  }),
  'credential.list': operation({
    kind: 'unary',
    summary: 'List credentials, never their values',
    role: 'client',
    rest: { method: 'GET', path: '/api/credentials' },
    params: v.strictObject(page),
    result: v.object({ credentials: v.array(credentials.credential), nextCursor }),
  }),
  'credential.delete': operation({
    kind: 'unary',
    summary: 'Remove a credential',
    role: 'client',
    rest: { method: 'DELETE', path: '/api/credentials/:name' },
    params: v.strictObject({ name: credentials.credentialName }),
    result: v.object({ credential: credentials.credential }),
  }),

  'key.create': operation({
    kind: 'unary',
    summary: 'Make an API key; the secret is in this answer and never again',
    role: 'admin',
    rest: { method: 'POST', path: '/api/keys', status: 201 },
    params: v.strictObject({
      role: v.picklist(platform.roles),
      tenant: v.optional(platform.tenant),
      name: v.optional(v.pipe(v.string(), v.maxLength(256))),
      expiresAt: v.optional(time),
    }),
    result: v.object({ key: platform.key, secret: v.string() }),
  }),
  'key.list': operation({
    kind: 'unary',
    summary: 'List API keys, never their secrets',
    role: 'admin',
    rest: { method: 'GET', path: '/api/keys' },
    params: v.strictObject(page),
    result: v.object({ keys: v.array(platform.key), nextCursor }),
  }),
  'key.delete': operation({
    kind: 'unary',
    summary: 'Revoke an API key at once',
    role: 'admin',
    rest: { method: 'DELETE', path: '/api/keys/:keyId' },
    params: v.strictObject({ keyId: id('key') }),
    result: v.object({ key: platform.key }),
  }),

  ...internalOperations,
} as const;

export type OperationName = keyof typeof operations;
/** What a caller writes: defaults may be left out. */
export type OperationInput<N extends OperationName> = v.InferInput<(typeof operations)[N]['params']>;
/** What the server works with: parsed, defaults filled in. */
export type OperationParams<N extends OperationName> = v.InferOutput<(typeof operations)[N]['params']>;
export type OperationResult<N extends OperationName> = v.InferOutput<(typeof operations)[N]['result']>;
