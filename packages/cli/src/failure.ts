/**
 * How a command fails. Expected failures are one line a person can act on; anything else is a fault of ours and comes
 * as a bug report that is ready to be filed.
 */
import { AtollError, isErrorCode } from '@atoll/protocol/errors';

export const exitCodes = { done: 0, failed: 1, usage: 2, unreachable: 3, interrupted: 130 } as const;

/** The command line or the configuration is wrong. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The command did its work, and the outcome is a failure that stands in its output already. */
export class Failed extends Error {
  override readonly name = 'Failed';
}

/** Something on this machine stands in the way; the message says what, and what mends it. */
export class SetupError extends Error {
  override readonly name = 'SetupError';
}

/** Ctrl-C. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** The reason that the system gave, as ENOENT. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

export type Failure = { exitCode: number; code: string; detail: string; hint?: string };

/** `command` is what was asked for, for hints. */
export function describeFailure(error: unknown, command: string): Failure {
  if (error instanceof UsageError) {
    const help = `See: atoll ${command === '' ? '' : `${command} `}--help`;
    return { exitCode: exitCodes.usage, code: 'usage', detail: error.message, hint: help };
  }
  if (error instanceof Interrupted)
    return { exitCode: exitCodes.interrupted, code: 'interrupted', detail: 'interrupted' };
  if (error instanceof Failed) return { exitCode: exitCodes.failed, code: 'failed', detail: error.message };
  if (error instanceof SetupError)
    return { exitCode: exitCodes.failed, code: 'setup', detail: error.message };
  if (error instanceof AtollError) return describeAtollError(error);
  // By name, so that a command that needs no client does not load it.
  if (error instanceof Error && error.name === 'Unreachable') {
    const hint = 'Start a server with: atoll start   (or name another with --server)';
    return { exitCode: exitCodes.unreachable, code: 'unreachable', detail: error.message, hint };
  }
  return { exitCode: exitCodes.failed, code: 'bug', detail: bugReport(error, command) };
}

/** For people, who see no other member. */
export function sentenceOf({ code, detail }: Failure): string {
  return isErrorCode(code) ? `${detail} (${code})` : detail;
}

function describeAtollError(error: AtollError): Failure {
  const failure = { exitCode: exitCodes.failed, code: error.code, detail: error.detail };
  if (error.code === 'coordinator_unreachable') return { ...failure, exitCode: exitCodes.unreachable };
  if (error.code === 'unauthorized')
    return { ...failure, hint: 'Give a key with --key or ATOLL_API_KEY, or the server’s --data-dir.' };
  if (error.code === 'no_capacity')
    return {
      ...failure,
      hint: 'End a session (atoll session list), or start the server with more --capacity.',
    };
  return failure;
}

function bugReport(error: unknown, command: string): string {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return [
    'This is a bug in Atoll. Please file it with these lines:',
    '',
    `  command   atoll ${command}`,
    `  system    ${process.platform} ${process.arch}, Node ${process.version}`,
    ...stack.split('\n').map((line) => `  ${line}`),
  ].join('\n');
}
