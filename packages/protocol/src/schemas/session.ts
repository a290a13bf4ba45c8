import * as v from 'valibot';
import { sessionStatuses, turnStatuses } from '../statuses.ts';
import { demands } from './agent.ts';
import { agentName, cause, count, env, id, jsonObject, label, noNul, seq, text, time } from './common.ts';

export const permissionMode = v.picklist(['default', 'acceptEdits', 'bypassPermissions', 'plan', 'dontAsk']);

const toolNames = v.pipe(v.array(label), v.maxLength(1000));

/** What a session is made with. Values here win over the agent's own. */
export const newSession = {
  agent: agentName,
  version: v.optional(v.pipe(count, v.minValue(1))),
  model: v.optional(label),
  systemPrompt: v.optional(text),
  permissionMode: v.optional(permissionMode),
  allowedTools: v.optional(toolNames),
  disallowedTools: v.optional(toolNames),
  mcpServers: v.optional(jsonObject),
  env: v.optional(env),
  allowSecretEnv: v.optional(v.boolean()),
  metadata: v.optional(jsonObject),
  demands: v.optional(demands),
};

/** A user message: text, or content blocks that are handed to the executor as they are. */
export const messageContent = v.union(
  [
    v.pipe(v.string(), v.minLength(1, 'must not be empty')),
    v.pipe(v.array(v.looseObject({ type: v.string() })), v.minLength(1), v.maxLength(1000)),
  ],
  'must be text, or a list of blocks, each an object with a "type"',
);

export const newMessage = {
  content: messageContent,
  model: v.optional(label),
  maxTurns: v.optional(v.pipe(count, v.minValue(1))),
  maxBudgetUsd: v.optional(v.pipe(v.number(), v.minValue(0))),
  outputFormat: v.optional(jsonObject),
  includePartialMessages: v.optional(v.boolean()),
  when: v.optional(v.picklist(['queue', 'now']), 'queue'),
};

export const turn = v.object({
  id: id('turn'),
  sessionId: id('session'),
  status: v.picklist(turnStatuses),
  ...cause,
  inputSeq: seq,
  doneSeq: v.nullable(seq),
  usage: v.nullable(jsonObject),
  createdAt: time,
  endedAt: v.nullable(time),
});
export type Turn = v.InferOutput<typeof turn>;

export const binding = v.object({
  executorSessionId: v.nullable(v.string()),
  projectDir: v.nullable(v.string()),
  hostname: v.nullable(v.string()),
  executorProfile: v.nullable(v.string()),
});

const reported = (max: number) => v.pipe(v.string(), v.minLength(1), v.maxLength(max), noNul);

/** As the executor writes it, snake_case; its runner adds the last two. */
export const newBinding = {
  executor_session_id: reported(256),
  project_dir: v.optional(reported(4096)),
  hostname: v.optional(reported(256)),
  executor_profile: v.optional(reported(256)),
};

/** Reports that Atoll itself writes: nobody else's may look like one. */
const ownReports: readonly string[] = [
  'access',
  'access_dropped',
  'bind',
  'metadata',
  'snapshot_skipped',
  'stderr',
];

export const newReport = {
  event_type: v.pipe(
    reported(256),
    v.check((type) => !ownReports.includes(type), `must not be one of ${ownReports.join(', ')}`),
  ),
};

/** Of a session's metadata as JSON, and of a change to it. */
export const maxMetadataBytes = 64 * 1024;

export const session = v.object({
  id: id('session'),
  agent: agentName,
  agentVersion: count,
  status: v.picklist(sessionStatuses),
  ...cause,
  usage: jsonObject,
  lastSeq: seq,
  runnerId: v.nullable(v.string()),
  sandboxId: v.nullable(v.string()),
  /** The running turn's id. */
  turn: v.nullable(v.string()),
  queuedTurns: count,
  binding,
  metadata: jsonObject,
  /** Of a fork: where it comes from, which may be gone by now. Both have the events up to that seq. */
  parent: v.nullable(v.object({ sessionId: id('session'), seq })),
  /** Of a fork: the seq of the snapshot that its files began with; null: with the agent's folder. */
  snapshotSeq: v.nullable(seq),
  createdAt: time,
  updatedAt: time,
  endedAt: v.nullable(time),
});
export type Session = v.InferOutput<typeof session>;

export const sessionEvent = v.object({ seq, time, event: v.string(), data: v.unknown() });
export type SessionEvent = v.InferOutput<typeof sessionEvent>;
