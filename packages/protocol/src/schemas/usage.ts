import * as v from 'valibot';
import { agentName, count, day, id } from './common.ts';
import { tenant } from './platform.ts';

/** What was used: tokens and money at models, time of sandboxes, bytes kept. */

export const usageKeys = ['day', 'agent', 'session'] as const;
export type UsageKey = (typeof usageKeys)[number];

const amount = v.pipe(v.number(), v.minValue(0));

export const usageSums = v.object({
  turns: count,
  /** Rounds with a model, as far as executors tell them; so for tokens and cost, too. */
  modelRequests: count,
  inputTokens: count,
  outputTokens: count,
  cacheReadTokens: count,
  cacheWriteTokens: count,
  costUsd: amount,
  /** From ready to ended, or until now. */
  sandboxSeconds: amount,
  /** Written to logs, and kept by snapshots beyond what was there before; not compressed. */
  logBytes: count,
  snapshotBytes: count,
});
export type UsageSums = v.InferOutput<typeof usageSums>;

/** Of a day; of an agent; or of a session, null for all that are erased. */
export const usageItem = v.object({
  day: v.optional(day),
  tenant: v.optional(tenant),
  agent: v.optional(v.nullable(agentName)),
  sessionId: v.optional(v.nullable(id('session'))),
  ...usageSums.entries,
});
export type UsageItem = v.InferOutput<typeof usageItem>;
