/** What a bridge answers, parsed: it is untrusted, so only what these schemas let through goes on (I11). */

import { approvalKinds, approvalOptions, isTooDeep } from '@atoll/protocol/approvals';
import { isExecutorSessionId } from '@atoll/protocol/executor-session';
import * as v from 'valibot';

const sentence = v.pipe(
  v.string(),
  v.transform((text) => text.slice(0, 2000)),
);
const code = v.pipe(v.string(), v.regex(/^[a-z][a-z0-9_]{0,63}$/));
/** A count that is not one is dropped: no bookkeeping is worth the end of a turn. */
const count = optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(1e12)));
const costUsd = optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1e6)));
const usage = v.pipe(
  v.object({
    inputTokens: count,
    outputTokens: count,
    cacheReadTokens: count,
    cacheCreationTokens: count,
    costUsd,
    turns: count,
    durationMs: count,
  }),
  v.transform((given) =>
    Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  ),
);

export const queryReply = v.object({
  status: v.picklist(['completed', 'failed', 'interrupted']),
  stopReason: v.optional(v.nullable(sentence)),
  cause: v.optional(code),
  detail: v.optional(sentence),
  executorSessionId: optional(v.custom<string>(isExecutorSessionId)),
  usage: optional(usage),
});

export const execReply = v.object({
  exitCode: v.nullable(v.pipe(v.number(), v.integer())),
  signal: v.optional(v.nullable(sentence)),
  timedOut: v.boolean(),
});

export const initializeReply = v.object({ protocolVersion: v.number() });

export const logNotification = v.object({ text: v.string() });

export const outputNotification = v.object({
  execId: v.string(),
  stream: v.picklist(['stdout', 'stderr']),
  text: v.string(),
});

export const approvalRequest = v.object({
  turnId: v.string(),
  kind: v.picklist(approvalKinds),
  tool: v.pipe(v.string(), v.maxLength(256), v.regex(/^[^\p{Cc}\p{Cs}]+$/u, 'must be a name')),
  input: v.pipe(
    v.record(v.string(), v.unknown()),
    v.check((value) => !isTooDeep(value), 'is nested too deep'),
  ),
  options: v.pipe(v.array(v.picklist(approvalOptions)), v.minLength(1), v.maxLength(16)),
});

/** What does not match is as if it were not there. */
function optional<T>(schema: v.GenericSchema<unknown, T>) {
  return v.fallback(v.optional(schema), undefined);
}
