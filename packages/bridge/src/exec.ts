/**
 * Runs a user's shell command in the sandbox, beside the agent: `sh -c` in a process group of its own, output as
 * notifications in order, and the exit as the answer.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { AtollError } from '@atoll/protocol/errors';
import { type Children, signalGroup } from './children.ts';
import type { ExecParams } from './params.ts';
import type { Timers } from './timers.ts';

/** Between SIGTERM and SIGKILL. */
const KILL_GRACE_MS = 1_000;
/** How long output may stay silent after the shell ended, when something it started still holds the pipe. */
const LINGER_MS = 250;

export type ExecResult = { exitCode: number | null; signal: string | null; timedOut: boolean };
type Stream = 'stdout' | 'stderr';
type Shell = ChildProcessByStdio<null, Readable, Readable>;

export type ExecContext = {
  workspace: string;
  env: Readonly<Record<string, string | undefined>>;
  children: Children;
  timers: Timers;
  /** Settles when more output can be taken (I9). */
  onOutput(execId: string, stream: Stream, text: string): Promise<void>;
};

export type Execs = {
  run(params: ExecParams): Promise<ExecResult>;
  /** Nothing happens when that command is not running. */
  cancel(execId: string): void;
};

export function createExecs(context: ExecContext): Execs {
  const running = new Map<string, () => void>();
  return {
    async run(params) {
      if (running.has(params.execId))
        throw new AtollError('illegal_transition', `exec ${params.execId} is running`);
      const shell = startShell(params, context);
      context.children.add(shell);
      const terminate = terminator(shell, context.timers);
      running.set(params.execId, terminate);
      try {
        return await finish(shell, params, terminate, context);
      } finally {
        running.delete(params.execId);
      }
    },
    cancel: (execId) => running.get(execId)?.(),
  };
}

function startShell({ command, cwd }: ExecParams, { workspace, env }: ExecContext): Shell {
  try {
    return spawn('sh', ['-c', command], {
      cwd: cwd ?? workspace,
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    throw notStarted(error, cwd);
  }
}

async function finish(
  shell: Shell,
  { execId, cwd, timeoutMs }: ExecParams,
  terminate: () => void,
  context: ExecContext,
): Promise<ExecResult> {
  let timedOut = false;
  const onDeadline = () => {
    timedOut = true;
    terminate();
  };
  const cancelDeadline =
    timeoutMs === undefined ? () => undefined : context.timers.after(timeoutMs, onDeadline);
  const streams = (['stdout', 'stderr'] as const).map((stream) =>
    forwardOutput(shell[stream], (text) => context.onOutput(execId, stream, text), context.timers),
  );
  try {
    const exit = await exitOf(shell, cwd);
    for (const stream of streams) stream.linger();
    await Promise.all(streams.map((stream) => stream.done));
    return { ...exit, timedOut };
  } finally {
    cancelDeadline();
    for (const stream of streams) stream.stop();
  }
}

function exitOf(
  shell: Shell,
  cwd: string | undefined,
): Promise<{ exitCode: number | null; signal: string | null }> {
  return new Promise((resolve, reject) => {
    shell.once('exit', (exitCode, signal) => resolve({ exitCode, signal }));
    shell.once('error', (error) => reject(notStarted(error, cwd)));
  });
}

/** Node throws some of these errors and emits others; a directory that is missing it tells as if the shell were. */
function notStarted(error: unknown, cwd: string | undefined): AtollError {
  const message = error instanceof Error ? error.message : String(error);
  const isOfDirectory = cwd !== undefined && /\b(?:ENOENT|ENOTDIR|EACCES)$/.test(message);
  const why = isOfDirectory ? `${cwd} is no directory that it can run in` : message;
  return new AtollError('sandbox_failed', `the command could not be started: ${why}`, { cause: error });
}

/** SIGTERM to the group, then SIGKILL to what is left of it. */
function terminator(shell: Shell, timers: Timers): () => void {
  return () => {
    signalGroup(shell, 'SIGTERM');
    timers.after(KILL_GRACE_MS, () => signalGroup(shell, 'SIGKILL'));
  };
}

/**
 * Reads one output of the shell to its end. After `linger` a pipe that somebody else still holds open (a process
 * the command left in the background) ends once it was silent for a moment; what was written is never lost.
 */
function forwardOutput(source: Readable, send: (text: string) => Promise<void>, timers: Timers) {
  let lingering = false;
  let sending = false;
  let cancelLinger: () => void = () => undefined;
  const wait = () => {
    cancelLinger();
    // While a piece waits for the runner the pipe is silent only because nobody reads it.
    if (lingering && !sending) cancelLinger = timers.after(LINGER_MS, () => source.destroy());
  };

  async function forward(): Promise<void> {
    // The decoder keeps characters whole that lie across two chunks.
    const decoder = new TextDecoder();
    for await (const chunk of source) {
      cancelLinger();
      const text = decoder.decode(chunk, { stream: true });
      sending = true;
      if (text !== '') await send(text);
      sending = false;
      wait();
    }
    const rest = decoder.decode();
    if (rest !== '') await send(rest);
  }

  return {
    // Destroyed by the linger above, or the connection is gone: either way there is nothing more to send.
    done: forward().catch(() => undefined),
    linger() {
      lingering = true;
      wait();
    },
    stop: () => cancelLinger(),
  };
}
