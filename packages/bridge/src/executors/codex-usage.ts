/**
 * The tokens of a turn. Codex tells the total of each of its threads, again and again; a turn has what the totals grew
 * by while it ran, those of its subagents included.
 */
import { isRecord } from '../params.ts';
import { number, type Usage } from './result.ts';

type Tokens = { input: number; cached: number; cacheWritten: number; output: number };

export type CodexUsage = {
  /** Takes the params of a `thread/tokenUsage/updated`. */
  take(params: Record<string, unknown>): void;
  /** A new turn begins: what was counted belongs to none. */
  reset(): void;
  of(durationMs: number): Omit<Usage, 'costUsd'>;
};

export function createUsage(): CodexUsage {
  const totals = new Map<string, Tokens>();
  let sum = none();
  let rounds = 0;
  return {
    take({ threadId, tokenUsage }) {
      if (!isRecord(tokenUsage)) return;
      const thread = String(threadId);
      const total = tokensOf(tokenUsage.total);
      // A thread that was loaded begins with a total; what it grew by last was told with it.
      const before = totals.get(thread) ?? minus(total, tokensOf(tokenUsage.last));
      totals.set(thread, total);
      const grown = minus(total, before);
      if (grown.input + grown.output <= 0) return;
      sum = plus(sum, grown);
      rounds++;
    },
    reset() {
      sum = none();
      rounds = 0;
    },
    of: (durationMs) => ({
      inputTokens: Math.max(0, sum.input - sum.cached - sum.cacheWritten),
      outputTokens: sum.output,
      cacheReadTokens: sum.cached,
      cacheCreationTokens: sum.cacheWritten,
      turns: rounds,
      durationMs,
    }),
  };
}

function tokensOf(value: unknown): Tokens {
  const told = isRecord(value) ? value : {};
  return {
    input: number(told.inputTokens),
    cached: number(told.cachedInputTokens),
    cacheWritten: number(told.cacheWriteInputTokens),
    output: number(told.outputTokens),
  };
}

function none(): Tokens {
  return { input: 0, cached: 0, cacheWritten: 0, output: 0 };
}

function plus(a: Tokens, b: Tokens): Tokens {
  return {
    input: a.input + b.input,
    cached: a.cached + b.cached,
    cacheWritten: a.cacheWritten + b.cacheWritten,
    output: a.output + b.output,
  };
}

function minus(a: Tokens, b: Tokens): Tokens {
  return {
    input: a.input - b.input,
    cached: a.cached - b.cached,
    cacheWritten: a.cacheWritten - b.cacheWritten,
    output: a.output - b.output,
  };
}
