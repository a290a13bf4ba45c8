/**
 * What a `result` message says about its turn: the Claude Agent SDK's, and those of programs that speak alike.
 * Read once per turn; everything in it is optional and from outside (I11).
 */
import { isExecutorSessionId } from '@atoll/protocol/executor-session';
import type { TurnCause, TurnEnd } from '../executor.ts';
import { isRecord } from '../params.ts';

export type Usage = {
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens: number;
  cacheCreationTokens: number;
  costUsd: number;
  turns: number;
  durationMs: number;
};

type Result = Record<string, unknown>;

const MAX_DETAIL_CHARS = 2_000;

export function endOfResult(result: Result, usage: Usage | undefined): TurnEnd {
  const about = {
    ...(typeof result.stop_reason === 'string' && { stopReason: result.stop_reason }),
    ...(isExecutorSessionId(result.session_id) && { executorSessionId: result.session_id }),
    ...(usage && { usage }),
  };
  if (result.is_error !== true) return { status: 'completed', ...about };
  const cause = causeOf(result);
  return {
    status: cause === 'interrupted' ? 'interrupted' : 'failed',
    cause,
    detail: detailOf(result),
    ...about,
  };
}

/**
 * Usage of this turn alone. `costBeforeUsd` is the running total at the end of the turn before, for results that
 * only carry a total.
 */
export function usageOfResult(result: Result, costBeforeUsd: number): Usage | undefined {
  if (!isRecord(result.usage) && result.total_cost_usd === undefined) return undefined;
  const rounds = { turns: number(result.num_turns), durationMs: number(result.duration_ms) };
  // Not in the SDK's types, but exact: it counts subagents and internal calls, and starts anew at every result.
  const since = result.model_usage_since_last_result;
  if (isRecord(since)) return { ...sumOfModels(since), ...rounds };
  const usage = isRecord(result.usage) ? result.usage : {};
  return {
    inputTokens: number(usage.input_tokens),
    outputTokens: number(usage.output_tokens),
    cacheReadTokens: number(usage.cache_read_input_tokens),
    cacheCreationTokens: number(usage.cache_creation_input_tokens),
    costUsd: Math.max(0, number(result.total_cost_usd) - costBeforeUsd),
    ...rounds,
  };
}

export function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

function sumOfModels(models: Record<string, unknown>): Omit<Usage, 'turns' | 'durationMs'> {
  const all = Object.values(models).filter(isRecord);
  const sum = (name: string) => all.reduce((total, model) => total + number(model[name]), 0);
  return {
    inputTokens: sum('inputTokens'),
    outputTokens: sum('outputTokens'),
    cacheReadTokens: sum('cacheReadInputTokens'),
    cacheCreationTokens: sum('cacheCreationInputTokens'),
    costUsd: sum('costUSD'),
  };
}

const MODEL_REASONS = ['api_error', 'model_error', 'prompt_too_long', 'image_error', 'blocking_limit'];

function causeOf({ subtype, terminal_reason: reason, api_error_status: status }: Result): TurnCause {
  if (subtype === 'error_max_turns') return 'max_turns';
  if (subtype === 'error_max_budget_usd') return 'max_budget';
  if (reason === 'aborted_streaming' || reason === 'aborted_tools') return 'interrupted';
  if (MODEL_REASONS.includes(String(reason)) || typeof status === 'number') return 'model_error';
  return 'executor_failed';
}

function detailOf({ result, errors }: Result): string {
  const said =
    typeof result === 'string' && result !== '' ? result : Array.isArray(errors) ? errors.join('; ') : '';
  return (said || 'The executor reported an error without saying which.')
    .slice(0, MAX_DETAIL_CHARS)
    .toWellFormed();
}
