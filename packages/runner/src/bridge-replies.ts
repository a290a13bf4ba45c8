/** What a bridge answers, parsed: it is untrusted, so only what these schemas let through goes on (I11). */
import * as v from 'valibot';

const sentence = v.pipe(
  v.string(),
  v.transform((text) => text.slice(0, 2000)),
);
const code = v.pipe(v.string(), v.regex(/^[a-z][a-z0-9_]{0,63}$/));
const number = v.pipe(v.number(), v.finite());

export const queryReply = v.object({
  status: v.picklist(['completed', 'failed', 'interrupted']),
  stopReason: v.optional(v.nullable(sentence)),
  cause: v.optional(code),
  detail: v.optional(sentence),
  executorSessionId: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(256))),
  usage: v.optional(
    v.object({
      inputTokens: v.optional(number),
      outputTokens: v.optional(number),
      cacheReadTokens: v.optional(number),
      cacheCreationTokens: v.optional(number),
      costUsd: v.optional(number),
      turns: v.optional(number),
      durationMs: v.optional(number),
    }),
  ),
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
