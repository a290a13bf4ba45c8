/**
 * What `atoll worker` answers beyond the operations of the table, or in another way than they do: each declared once, for
 * the worker, its OpenRPC document and its hosts.
 */
import * as v from 'valibot';
import { count, id, jsonObject } from './schemas/common.ts';
import * as states from './schemas/state.ts';

export type WorkerMethod = {
  summary: string;
  params: v.StrictObjectSchema<v.ObjectEntries, undefined>;
  result: v.GenericSchema;
};

/** Of a file, in one request. */
export const MAX_PIECE_BYTES = 8 * 1024 * 1024;

const sessionId = id('session');
const sandboxId = id('sandbox');
const file = { path: v.string(), offset: v.optional(count, 0) };
const pieceLength = v.pipe(count, v.maxValue(MAX_PIECE_BYTES, `at most ${MAX_PIECE_BYTES}`));
const pieceToRead = { ...file, length: v.optional(pieceLength, MAX_PIECE_BYTES) };
const pieceRead = v.object({
  content: v.string(),
  offset: count,
  sizeBytes: count,
  modifiedAt: v.string(),
});
const pieceToWrite = {
  ...file,
  content: v.pipe(v.string(), v.maxLength(Math.ceil(MAX_PIECE_BYTES / 3) * 4)),
  more: v.optional(v.boolean(), false),
};
const pieceWritten = v.object({
  file: v.object({ path: v.string(), sizeBytes: count, created: v.optional(v.boolean()) }),
});

const stateAt = {
  summary: 'What was there at a time, or in a session at a seq; without `asOf`, what is there now',
  params: v.strictObject({
    asOf: v.optional(states.moment),
    sessionId: v.optional(sessionId),
    /** A fork, to be looked at in place of the session. */
    scenario: v.optional(sessionId),
  }),
  result: v.union([
    v.object({ asOf: states.asOf, session: v.nullable(states.stateOfSession) }),
    v.object({
      asOf: states.asOf,
      sessions: v.array(states.stateOfSession),
      sandboxes: v.array(states.stateOfSandbox),
      runners: v.array(states.stateOfRunner),
    }),
  ]),
};

/** What `ready` says, the first line of all. */
export const hello = v.object({ version: v.string(), protocolVersion: count, pid: count });
export type Hello = v.InferOutput<typeof hello>;

export const workerMethods = {
  ping: {
    summary: 'Whether the worker answers',
    params: v.strictObject({}),
    result: v.literal('pong'),
  },
  initialize: {
    summary: 'Tells the launch token where there is one; answers what `ready` said',
    params: v.strictObject({ token: v.optional(v.string()) }),
    result: hello,
  },
  'rpc.discover': {
    summary: 'This document',
    params: v.strictObject({}),
    result: jsonObject,
  },
  state_at: stateAt,
  'Temporal.StateAt': stateAt,
  'session.subscribe': {
    summary: 'From now on `session.event` notifications: all events later than `after`, then live',
    params: v.strictObject({ sessionId, after: v.optional(count, 0) }),
    result: v.object({ sessionId, after: count }),
  },
  'session.unsubscribe': {
    summary: 'No more of them',
    params: v.strictObject({ sessionId }),
    result: v.object({ sessionId }),
  },
  'session.files.read': {
    summary: 'A piece of a workspace file, as base64',
    params: v.strictObject({ sessionId, ...pieceToRead }),
    result: pieceRead,
  },
  'session.files.write': {
    summary: 'The next piece of a workspace file, as base64, in order; all but the last with `more`',
    params: v.strictObject({ sessionId, ...pieceToWrite }),
    result: pieceWritten,
  },
  'sandbox.files.read': {
    summary: 'A piece of a file of a bare sandbox, as base64',
    params: v.strictObject({ sandboxId, ...pieceToRead }),
    result: pieceRead,
  },
  'sandbox.files.write': {
    summary: 'The next piece of a file of a bare sandbox, as base64, in order; all but the last with `more`',
    params: v.strictObject({ sandboxId, ...pieceToWrite }),
    result: pieceWritten,
  },
} as const satisfies Readonly<Record<string, WorkerMethod>>;

export type WorkerMethodName = keyof typeof workerMethods;
export type WorkerInput<N extends WorkerMethodName> = v.InferInput<(typeof workerMethods)[N]['params']>;
export type WorkerResult<N extends WorkerMethodName> = v.InferOutput<(typeof workerMethods)[N]['result']>;
