/** How a turn of an ACP agent ended, and what it used: from the agent's answer, or from what went wrong. */
import { RpcError } from '@atoll/protocol/json-rpc';
import type { TurnEnd } from '../executor.ts';
import { isRecord } from '../params.ts';
import { AcpFailure } from './acp-failure.ts';
import { member } from './acp-prompt.ts';
import type { Failure } from './line-process.ts';
import { number, type Usage } from './result.ts';

/** ACP's error of an agent that wants to be logged in. */
const AUTH_REQUIRED = -32000;
const MAX_DETAIL_CHARS = 2_000;

/** By ACP's stop reasons; one that is new is taken for a proper end. */
const stops: Readonly<Record<string, Omit<TurnEnd, 'stopReason'>>> = {
  max_tokens: {
    status: 'failed',
    cause: 'max_tokens',
    detail: 'The answer was cut off: the model reached its token limit.',
  },
  max_turn_requests: {
    status: 'failed',
    cause: 'max_turns',
    detail: 'The agent made as many model calls as it may make in one turn.',
  },
  refusal: { status: 'failed', cause: 'refusal', detail: 'The agent refused to go on.' },
  cancelled: { status: 'interrupted', cause: 'interrupted', detail: 'The agent cancelled the turn.' },
};

export function endOfPrompt(answer: unknown, costUsd: number): TurnEnd {
  const reason = member(answer, 'stopReason');
  const usage = usageOf(member(answer, 'usage'), costUsd);
  const about = { ...(typeof reason === 'string' && { stopReason: reason }), ...(usage && { usage }) };
  const known = typeof reason === 'string' && Object.hasOwn(stops, reason) ? stops[reason] : undefined;
  return { ...(known ?? { status: 'completed' }), ...about };
}

export function endOfError(error: unknown): TurnEnd {
  return { status: 'failed', ...failureOf(error) };
}

export function failureOf(error: unknown): Failure {
  if (error instanceof AcpFailure) return error.failure;
  if (error instanceof RpcError && error.code === AUTH_REQUIRED)
    return {
      cause: 'auth_required',
      detail:
        'The agent wants to be logged in, and nobody can do that inside a sandbox. Configure it to call its model at $ATOLL_API_URL (/anthropic, /openai) with any key: the gateway adds the real one.',
    };
  return { cause: 'executor_failed', detail: clip(sentenceOf(error)) };
}

/** Agents put what really happened into `data`. */
function sentenceOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const data = error instanceof RpcError ? error.data : undefined;
  const more = [data, member(data, 'details'), member(data, 'message')].find(
    (text): text is string => typeof text === 'string' && !message.includes(text),
  );
  return more === undefined ? message : `${message}: ${more}`;
}

function usageOf(said: unknown, costUsd: number): Usage | undefined {
  if (!isRecord(said) && costUsd === 0) return undefined;
  return {
    inputTokens: number(member(said, 'inputTokens')),
    outputTokens: number(member(said, 'outputTokens')),
    cacheReadTokens: number(member(said, 'cachedReadTokens')),
    cacheCreationTokens: number(member(said, 'cachedWriteTokens')),
    costUsd,
    turns: 0,
    durationMs: 0,
  };
}

function clip(text: string): string {
  return text.slice(0, MAX_DETAIL_CHARS).toWellFormed();
}
