/** A real `atoll runner` for tests: its own process, on a free port of loopback. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Atoll, until } from './atoll.ts';
import { groupsOf, processesOf } from './traces.ts';

const MAIN = fileURLToPath(new URL('../packages/cli/src/main.mjs', import.meta.url));

export type RunnerProcess = {
  readonly id: string;
  readonly url: string;
  readonly callbackToken: string;
  readonly pid: number;
  /** What it keeps, all of it. */
  readonly directory: string;
  /** What it wrote to stderr so far. */
  readonly stderr: string;
  /** SIGKILL, as a power cut would. */
  kill(): Promise<void>;
  /** SIGKILL, and everything that it kept is deleted: its machine is gone. */
  destroy(): Promise<void>;
  /** SIGTERM, and waits. Returns the exit code. */
  stop(): Promise<number | null>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type StartRunnerOptions = {
  args?: readonly string[];
  key?: string;
  link?: 'http' | 'grpc';
  env?: Readonly<Record<string, string>>;
  /** The command that it is started with, on a machine of a test's own (netns.ts). */
  within?: readonly string[];
};

/** Resolves when it is registered. What it keeps is below the data directory of the server, and goes with that. */
export async function startRunner(
  atoll: Atoll,
  name: string,
  { args = [], key = atoll.key, link = 'http', env = {}, within = [] }: StartRunnerOptions = {},
): Promise<RunnerProcess> {
  const dataDir = join(atoll.dataDir, 'fleet');
  const { PATH = '', HOME = '' } = process.env;
  const [program = '', ...before] = [...within, process.execPath];
  const child = spawn(
    program,
    [
      ...before,
      MAIN,
      'runner',
      '--link',
      link,
      '--server',
      link === 'http' ? atoll.url : atoll.grpcUrl,
      '--name',
      name,
      '--data-dir',
      dataDir,
      ...(link === 'http' ? ['--port', '0'] : []),
      '--json',
      ...args,
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH, HOME, TMPDIR: tmpdir(), ATOLL_RUNNER_KEY: key, ...env },
    },
  );
  const errors: string[] = [];
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
  const first = await firstLine(child);
  if (first === undefined) throw new Error(`atoll runner ended before it registered:\n${errors.join('')}`);
  const { runnerId: id, url } = JSON.parse(first) as { runnerId: string; url: string };
  const own = join(dataDir, 'runners', name);
  const callbackToken = (await readFile(join(own, 'callback.token'), 'utf8')).trim();

  async function end(signal: NodeJS.Signals): Promise<number | null> {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await once(child, 'exit');
    }
    return child.exitCode;
  }

  /** Its sandboxes die with it; their control groups are what the kernel keeps, and a next runner there would remove. */
  async function destroy(): Promise<void> {
    const groups = new Set(
      processesOf(own)
        .flatMap(groupsOf)
        .filter((group) => group.includes('/sbx_')),
    );
    await end('SIGKILL');
    await until(async () => processesOf(own).length === 0);
    await rm(own, { recursive: true });
    const parents = new Set([...groups].map((group) => dirname(group)));
    for (const group of [...groups, ...parents]) await until(() => isRemoved(group));
  }

  return {
    id,
    url,
    callbackToken,
    pid: child.pid ?? 0,
    directory: own,
    get stderr() {
      return errors.join('');
    },
    kill: async () => void (await end('SIGKILL')),
    destroy,
    stop: () => end('SIGTERM'),
    [Symbol.asyncDispose]: async () => void (await end('SIGTERM')),
  };
}

/** A process that ended is in its control group until somebody reaps it. */
async function isRemoved(group: string): Promise<boolean> {
  try {
    await rmdir(group);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false;
    throw error;
  }
}

async function firstLine(child: ChildProcess): Promise<string | undefined> {
  if (!child.stdout) return undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    child.stdout.resume();
    return line;
  }
  return undefined;
}
