/**
 * A real `atoll start` for tests: its own process, data directory and free port, on loopback. What it leaves is removed
 * when the test ends, and that nothing runs on is checked there.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Client, createClient } from '@atoll/client';

const MAIN = fileURLToPath(new URL('../packages/cli/src/main.mjs', import.meta.url));

export type Atoll = {
  readonly url: string;
  /** Where runners dial in; '' without `--grpc-port`. */
  readonly grpcUrl: string;
  readonly key: string;
  readonly dataDir: string;
  readonly pid: number;
  readonly client: Client;
  /** SIGKILL, as a power cut would. */
  kill(): Promise<void>;
  /** Starts again on the same data directory; on another port, unless it keeps its own. */
  restart(): Promise<void>;
  /** SIGTERM, and waits. Returns the exit code. */
  stop(): Promise<number | null>;
  /** Everything it wrote to stderr so far. */
  readonly stderr: string;
  [Symbol.asyncDispose](): Promise<void>;
};

export type AtollOptions = {
  args?: readonly string[];
  env?: Record<string, string>;
  dataDir?: string;
  nodeArgs?: readonly string[];
  /** For runners, who know one address. */
  keepsPorts?: boolean;
  /** The command that it is started with, on a machine of a test's own (netns.ts). */
  within?: readonly string[];
};

export async function startAtoll(options: AtollOptions = {}): Promise<Atoll> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'atoll-test-')));
  let running = await launch(dataDir, options);

  async function end(signal: NodeJS.Signals): Promise<number | null> {
    const { child } = running;
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await once(child, 'exit');
    }
    return child.exitCode;
  }

  return {
    get url() {
      return running.url;
    },
    get grpcUrl() {
      return running.grpcUrl;
    },
    get key() {
      return running.key;
    },
    get pid() {
      return running.child.pid ?? 0;
    },
    get client() {
      return running.client;
    },
    get stderr() {
      return running.errors.join('');
    },
    dataDir,
    kill: async () => void (await end('SIGKILL')),
    async restart() {
      await end('SIGTERM');
      const { url, grpcUrl } = running;
      running = await launch(dataDir, options, options.keepsPorts ? { url, grpcUrl } : undefined);
    },
    stop: () => end('SIGTERM'),
    async [Symbol.asyncDispose]() {
      await end('SIGTERM');
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

type Running = {
  child: ChildProcess;
  url: string;
  grpcUrl: string;
  key: string;
  client: Client;
  errors: string[];
};

async function launch(
  dataDir: string,
  { args = [], env = {}, nodeArgs = [], within = [] }: AtollOptions,
  before?: { url: string; grpcUrl: string },
): Promise<Running> {
  const http = before ? new URL(before.url).port : '0';
  const grpc = before?.grpcUrl ? ['--grpc-port', new URL(before.grpcUrl).port] : [];
  const own = ['start', '--port', http, '--data-dir', dataDir, '--json', ...args, ...grpc];
  const [program = '', ...rest] = [...within, process.execPath, ...nodeArgs, MAIN, ...own];
  const { PATH = '', HOME = '' } = process.env;
  const clean = { PATH, HOME, TMPDIR: tmpdir(), ...env };
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: clean });
  const errors: string[] = [];
  child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
  const first = await firstLine(child);
  if (first === undefined) throw new Error(`atoll start ended before it listened:\n${errors.join('')}`);
  const { url, grpcUrl = '', adminKeyFile } = JSON.parse(first) as Record<string, string>;
  if (!url || !adminKeyFile) throw new Error(`it does not say where it is: ${first}`);
  const key = (await readFile(adminKeyFile, 'utf8')).trim();
  return { child, url, grpcUrl, key, client: createClient({ url, key }), errors };
}

async function firstLine(child: ChildProcess): Promise<string | undefined> {
  if (!child.stdout) return undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    child.stdout.resume();
    return line;
  }
  return undefined;
}

/** Deploys a folder of text files. */
export async function deploy(client: Client, name: string, files: Record<string, string>): Promise<void> {
  await client.call('agent.deploy', {
    name,
    files: Object.entries(files).map(([path, text]) => ({
      path,
      content: Buffer.from(text).toString('base64'),
    })),
  });
}

/** Deploys a `program` agent with this source. */
export async function deployProgram(
  client: Client,
  name: string,
  source: string,
  config: object = {},
): Promise<void> {
  const executor = { kind: 'program', command: ['node', 'agent.mjs'] };
  await deploy(client, name, { 'agent.mjs': source, 'atoll.json': JSON.stringify({ executor, ...config }) });
}

/** Every file below a directory, as paths relative to it. */
export async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)));
}

/** Pids whose command line holds `mark`. */
export async function processesWith(mark: string): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (command.includes(mark)) found.push(Number(pid));
  }
  return found;
}

/** Awaits a condition, looking again every 20 ms; throws after `timeoutMs`. */
export async function until<T>(
  condition: () => Promise<T | undefined | false>,
  timeoutMs = 10_000,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error('the condition did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
