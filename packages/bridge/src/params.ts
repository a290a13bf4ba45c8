/**
 * Parameters of the runner's requests, checked where they enter. Written by hand, since a schema library would
 * cost a third of the bridge's start time.
 */
import { AtollError } from '@atoll/protocol/errors';
import { commandKinds, executorKinds } from '@atoll/protocol/executor-kinds';
import { isExecutorSessionId } from '@atoll/protocol/executor-session';
import type { ExecutorSettings, QueryOptions } from '@atoll/protocol/runner-link';
import { PROTOCOL_VERSION } from '@atoll/protocol/wire';
import type { Turn } from './executor.ts';

type Params = Record<string, unknown>;

/**
 * `env` is for what the bridge starts, never for itself. Without an executor it only runs commands. "parked": whose
 * executor it will be comes with `claim`.
 */
export type InitializeParams = { workspace: string; env: Record<string, string> } & (
  | { executor: ExecutorSettings; parked: boolean }
  | { executor: undefined; parked: false }
);
export type ClaimParams = { executor: ExecutorSettings; env: Record<string, string> };
export type ExecParams = { execId: string; command: string; cwd?: string; timeoutMs?: number };

export function initializeParams(params: Params): InitializeParams {
  if (params.protocolVersion !== PROTOCOL_VERSION)
    throw invalid(
      `protocolVersion ${String(params.protocolVersion)} is unknown here; this bridge speaks ${PROTOCOL_VERSION}`,
    );
  const { parked = false } = params;
  if (typeof parked !== 'boolean') throw invalid('parked must be true or false');
  const given = { workspace: string(params, 'workspace'), env: envOf(params) };
  if (params.executor === undefined && !parked) return { ...given, executor: undefined, parked };
  return { ...given, executor: executorSettings(params.executor), parked };
}

export function claimParams(params: Params): ClaimParams {
  return { executor: executorSettings(params.executor), env: envOf(params) };
}

function envOf({ env }: Params): Record<string, string> {
  if (!isRecord(env)) throw invalid('env must be an object');
  for (const [name, value] of Object.entries(env))
    if (typeof value !== 'string') throw invalid(`env.${name} must be a string`);
  return env as Record<string, string>;
}

export function queryParams(params: Params): Turn {
  const { content, options = {} } = params;
  if (typeof content !== 'string' && !Array.isArray(content))
    throw invalid('content must be a string or an array of content blocks');
  if (!isRecord(options)) throw invalid('options must be an object');
  return { turnId: string(params, 'turnId'), content, options: queryOptions(options) };
}

export function execParams(params: Params): ExecParams {
  const { cwd, timeoutMs } = params;
  if (cwd !== undefined && typeof cwd !== 'string') throw invalid('cwd must be a string');
  if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs > 0))
    throw invalid('timeoutMs must be a positive number');
  return {
    execId: string(params, 'execId'),
    command: string(params, 'command'),
    ...(cwd !== undefined && { cwd }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  };
}

export function resumeParams(params: Params): { executorSessionId: string; branches: boolean } {
  const id = string(params, 'executorSessionId');
  if (!isExecutorSessionId(id)) throw invalid('executorSessionId is not a session id');
  return { executorSessionId: id, branches: params.branches === true };
}

export function string(params: Params, name: string): string {
  const value = params[name];
  if (typeof value !== 'string' || value === '') throw invalid(`${name} must be a string`);
  return value;
}

export function isRecord(value: unknown): value is Params {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function executorSettings(value: unknown): ExecutorSettings {
  if (!isRecord(value)) throw invalid('executor must be an object');
  const { command, mcpServers, approvals } = value;
  const kind = executorKinds.find((known) => known === value.kind);
  if (kind === undefined) throw invalid(`this bridge has no executor ${String(value.kind)}`);
  if (commandKinds.includes(kind) && !(isStrings(command) && command.length > 0))
    throw invalid('executor.command must name the program to start');
  for (const name of ['model', 'systemPrompt', 'permissionMode'])
    if (value[name] !== undefined && typeof value[name] !== 'string')
      throw invalid(`executor.${name} must be a string`);
  for (const name of ['allowedTools', 'disallowedTools'])
    if (value[name] !== undefined && !isStrings(value[name]))
      throw invalid(`executor.${name} must be strings`);
  if (mcpServers !== undefined && !isRecord(mcpServers))
    throw invalid('executor.mcpServers must be an object');
  if (approvals !== undefined && !isRecord(approvals)) throw invalid('executor.approvals must be an object');
  return value as ExecutorSettings;
}

function queryOptions(options: Params): QueryOptions {
  const { model, maxTurns, maxBudgetUsd, outputFormat, includePartialMessages } = options;
  if (model !== undefined && typeof model !== 'string') throw invalid('options.model must be a string');
  for (const [name, value] of Object.entries({ maxTurns, maxBudgetUsd }))
    if (value !== undefined && !(typeof value === 'number' && value > 0))
      throw invalid(`options.${name} must be a positive number`);
  if (includePartialMessages !== undefined && typeof includePartialMessages !== 'boolean')
    throw invalid('options.includePartialMessages must be true or false');
  if (outputFormat !== undefined && !isRecord(outputFormat))
    throw invalid('options.outputFormat must be an object');
  return options as QueryOptions;
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function invalid(detail: string): AtollError {
  return new AtollError('invalid_request', detail);
}
