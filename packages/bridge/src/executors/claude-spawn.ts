/**
 * Starts the Claude CLI as the SDK would, but in a group of its own that `children` knows, and with a gate in its
 * stdout: the SDK queues without limit what it reads, so it is given no more while the runner is slow (I9).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { Transform } from 'node:stream';
import type { SpawnedProcess, SpawnOptions } from '@anthropic-ai/claude-agent-sdk';
import type { Children } from '../children.ts';

export type SpawnContext = {
  children: Children;
  onStderr(text: string): void;
  /** What to wait for before more output is handed on, if anything. */
  waiting(): Promise<void> | undefined;
};

export function spawnClaude(
  { command, args, cwd, env, signal }: SpawnOptions,
  { children, onStderr, waiting }: SpawnContext,
): { child: ChildProcess; spawned: SpawnedProcess } {
  const child = spawn(command, args, { cwd, env, signal, detached: true, stdio: 'pipe' });
  children.add(child);
  const decoder = new TextDecoder();
  child.stderr.on('data', (chunk: Buffer) => onStderr(decoder.decode(chunk, { stream: true })));
  const gate = new Transform({
    transform(chunk, _encoding, done) {
      const wait = waiting();
      if (wait) void wait.then(() => done(null, chunk));
      else done(null, chunk);
    },
  });
  const spawned: SpawnedProcess = {
    stdin: child.stdin,
    stdout: child.stdout.pipe(gate),
    get killed() {
      return child.killed;
    },
    get exitCode() {
      return child.exitCode;
    },
    get signalCode() {
      return child.signalCode;
    },
    kill: (killSignal) => child.kill(killSignal),
    on: child.on.bind(child),
    once: child.once.bind(child),
    off: child.off.bind(child),
  };
  return { child, spawned };
}

export function exitOf(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
  });
}
