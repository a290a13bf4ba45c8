import * as v from 'valibot';
import { runnerStatuses, sandboxStatuses, sessionStatuses } from '../statuses.ts';
import { approvalEvent } from './approval.ts';
import { count, id, jsonObject, seq, time } from './common.ts';

/** What was there at a moment (protocols §5). */

/** A place in a session's log: a seq, or the last one that was committed by a time. Query strings carry it as text. */
export const moment = v.union(
  [seq, v.pipe(v.string(), v.regex(/^\d{1,15}$/)), time],
  'must be a seq or an ISO 8601 time',
);

export const stateOfSession = v.object({
  id: id('session'),
  status: v.picklist(sessionStatuses),
  cause: v.nullable(v.string()),
  /** The running turn's id. */
  turn: v.nullable(v.string()),
  /** What waits for a decision, as it was requested. */
  approvals: v.array(approvalEvent),
  usage: jsonObject,
  lastSeq: seq,
  /** The latest snapshot that is not after `lastSeq`. */
  snapshotSeq: v.nullable(seq),
});
export type StateOfSession = v.InferOutput<typeof stateOfSession>;

export const stateOfSandbox = v.object({
  id: id('sandbox'),
  sessionId: v.nullable(v.string()),
  runnerId: v.nullable(v.string()),
  status: v.picklist(sandboxStatuses),
});
export type StateOfSandbox = v.InferOutput<typeof stateOfSandbox>;

export const stateOfRunner = v.object({
  id: v.string(),
  hostname: v.string(),
  status: v.picklist(runnerStatuses),
  capacity: count,
  reserved: count,
});
export type StateOfRunner = v.InferOutput<typeof stateOfRunner>;

/** The moment that the answer is of: as it was asked, or now when that was later. */
export const asOf = v.union([time, seq]);
