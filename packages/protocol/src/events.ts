/**
 * The data of the events that Atoll itself writes into a log or a stream. `message` is not among them: its data is
 * the executor's, byte for byte (I3).
 */
import * as v from 'valibot';
import { approvalEvent } from './schemas/approval.ts';
import { count, id, jsonObject, seq } from './schemas/common.ts';
import { messageContent } from './schemas/session.ts';
import { sessionStatuses, turnStatuses } from './statuses.ts';

const cause = { cause: v.optional(v.string()), detail: v.optional(v.string()) };

/** The executor's own name for its conversation. */
const conversation = { executorSessionId: v.optional(v.string()) };

/**
 * Of which session a fork has the events up to `seq`, whose snapshot its files are, and the conversation that its
 * executor branches off.
 */
const forkEvent = v.object({
  sessionId: id('session'),
  seq,
  snapshotSeq: v.nullable(seq),
  ...conversation,
});

export const eventSchemas = {
  /** First on every stream, without an id: what it is a stream of, and how that stands now. */
  ready: v.object({
    sessionId: id('session'),
    turnId: v.nullable(v.string()),
    status: v.picklist([...sessionStatuses, ...turnStatuses]),
  }),
  /** A user's message, accepted into the queue of turns. */
  input: v.object({ turnId: id('turn'), content: messageContent, options: v.optional(jsonObject) }),
  /** A change of the session's status; `turnId` where a turn started with it, `fork` where a fork's own events begin. */
  status: v.object({
    status: v.picklist(sessionStatuses),
    turnId: v.optional(id('turn')),
    sandboxId: v.optional(id('sandbox')),
    fork: v.optional(forkEvent),
    ...cause,
  }),
  /** The agent asks for something; then how that was resolved, whoever did it. */
  approval: approvalEvent,
  /** What the executor, or the bridge for it, told about itself. */
  report: v.looseObject({ event_type: v.string() }),
  /** Something went wrong; the stream goes on unless the session ended. */
  error: v.object({ code: v.string(), detail: v.string() }),
  /** The end of a turn, and the conversation that the executor has by then. */
  done: v.object({
    sessionId: id('session'),
    turnId: id('turn'),
    status: v.picklist(['completed', 'failed', 'interrupted']),
    ...cause,
    usage: v.optional(jsonObject),
    ...conversation,
  }),
  /** What stood at from..to was taken by compaction. */
  compacted: v.object({ from: seq, to: seq }),
  /** Answer of `exec`: a piece of output, then how it ended. */
  stdout: v.object({ text: v.string() }),
  stderr: v.object({ text: v.string() }),
  exit: v.object({ exitCode: v.nullable(v.number()), timedOut: v.boolean(), ...cause }),
} as const;

export type EventName = keyof typeof eventSchemas | 'message';
export type EventData<N extends keyof typeof eventSchemas> = v.InferOutput<(typeof eventSchemas)[N]>;

/** Tokens and cost of a turn, or of all turns of a session so far. */
export const usage = v.object({
  inputTokens: v.optional(count),
  outputTokens: v.optional(count),
  cacheReadTokens: v.optional(count),
  cacheCreationTokens: v.optional(count),
  costUsd: v.optional(v.number()),
  turns: v.optional(count),
  durationMs: v.optional(v.number()),
});
export type Usage = v.InferOutput<typeof usage>;
