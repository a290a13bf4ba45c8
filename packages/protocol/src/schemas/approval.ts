import * as v from 'valibot';
import { approvalKinds, approvalOptions } from '../approvals.ts';
import { id, jsonObject, label, notArray, time } from './common.ts';

const message = v.pipe(v.string(), v.maxLength(16 * 1024));
const answers = v.pipe(
  notArray(v.record(v.string(), message)),
  v.check((given) => Object.keys(given).length <= 16, 'at most 16 answers'),
);

/** What somebody decides. */
export const newDecision = {
  decision: v.picklist(approvalOptions),
  message: v.optional(message),
  answers: v.optional(answers),
};

const decision = v.picklist([...approvalOptions, 'cancelled']);
const request = {
  kind: v.picklist(approvalKinds),
  tool: label,
  input: jsonObject,
  options: v.array(v.picklist(approvalOptions)),
};

export const approvalStatuses = ['requested', 'resolved'] as const;

/** Data of the event `approval`. `cause`: why it was cancelled. */
export const approvalEvent = v.object({
  approvalId: id('approval'),
  status: v.picklist(approvalStatuses),
  ...request,
  decision: v.optional(decision),
  message: v.optional(message),
  answers: v.optional(answers),
  cause: v.optional(v.string()),
});

export const approval = v.object({
  id: id('approval'),
  sessionId: id('session'),
  /** That asked last. */
  turnId: id('turn'),
  status: v.picklist(approvalStatuses),
  ...request,
  decision: v.nullable(decision),
  message: v.nullable(message),
  answers: v.nullable(answers),
  cause: v.nullable(v.string()),
  createdAt: time,
  resolvedAt: v.nullable(time),
});
export type Approval = v.InferOutput<typeof approval>;
