/** A real `atoll worker` for tests, and a host that speaks lines with it and nothing more. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex, Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../packages/cli/src/main.mjs', import.meta.url));

export type Line = {
  jsonrpc: '2.0';
  id?: string | number | null;
  method?: string;
  params?: Record<string, unknown>;
  result?: unknown;
  error?: { code: number; message: string; data?: { code?: string; detail?: string } };
};

/** The line end of a host: what it writes, and the lines that came, in order. */
export type LineHost = {
  readonly lines: readonly (Line | Line[])[];
  write(text: string | Uint8Array): void;
  /** Sends a request with a new id; resolves with its answer, whatever it is. */
  call(method: string, params?: object, envelope?: object): Promise<Line>;
  /** The first line that fits, of those that came and those that will. */
  next(fits: (line: Line) => boolean): Promise<Line>;
  nextBatch(): Promise<Line[]>;
  readonly ended: Promise<void>;
};

export function lineHost(input: Readable, output: Writable): LineHost {
  const lines: (Line | Line[])[] = [];
  const waiting = new Set<() => void>();
  let nextId = 1;
  let rest = Buffer.alloc(0);
  let over = false;
  const wake = () => {
    for (const look of [...waiting]) look();
  };
  input.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
      lines.push(lineOf(rest.subarray(0, end).toString()));
      rest = rest.subarray(end + 1);
    }
    wake();
  });
  output.on('error', () => undefined);
  const ended = new Promise<void>((resolve) => {
    const end = () => {
      over = true;
      wake();
      resolve();
    };
    input.once('end', end);
    input.once('close', end);
  });

  function found<T extends Line | Line[]>(fits: (line: Line | Line[]) => line is T): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const line = lines.find(fits);
        if (!line && !over) return;
        waiting.delete(look);
        if (line) resolve(line);
        else reject(new Error(`the worker is gone; its last lines: ${JSON.stringify(lines.slice(-3))}`));
      };
      waiting.add(look);
      look();
    });
  }

  const next = (fits: (line: Line) => boolean) =>
    found((line): line is Line => !Array.isArray(line) && fits(line));

  return {
    lines,
    write: (text) => void output.write(text),
    call(method, params = {}, envelope = {}) {
      const id = `c${nextId++}`;
      output.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params, ...envelope })}\n`);
      return next((line) => line.id === id);
    },
    next,
    nextBatch: () => found((line): line is Line[] => Array.isArray(line)),
    ended,
  };
}

/** A line of before JSON-RPC may be a bare word. */
function lineOf(text: string): Line {
  return (text === 'pong' ? text : JSON.parse(text)) as Line;
}

export type Worker = LineHost & {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly dataDir: string;
  readonly stderr: string;
  /** Resolves with the exit code once it ended. */
  readonly exited: Promise<number | null>;
  /** Closes its stdin and waits. */
  stop(): Promise<number | null>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type WorkerOptions = {
  args?: readonly string[];
  env?: Record<string, string>;
  dataDir?: string;
  /** Before its own command, such as `unshare -n`. */
  under?: readonly string[];
};

export async function startWorker(options: WorkerOptions = {}): Promise<Worker> {
  const { args = [], env = {}, under = [] } = options;
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'atoll-worker-')));
  const { PATH = '', HOME = '' } = process.env;
  const [program = '', ...words] = [
    ...under,
    process.execPath,
    MAIN,
    'worker',
    '--data-dir',
    dataDir,
    ...args,
  ];
  const child = spawn(program, words, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH, HOME, TMPDIR: tmpdir(), ...env },
  });
  const errors: string[] = [];
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  const host = lineHost(child.stdout, child.stdin);

  async function stop(): Promise<number | null> {
    child.stdin.end();
    return exited;
  }

  return {
    ...host,
    child,
    dataDir,
    exited,
    stop,
    get stderr() {
      return errors.join('');
    },
    async [Symbol.asyncDispose]() {
      await stop();
      if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** A host on a connected socket. */
export function socketHost(socket: Duplex): LineHost {
  return lineHost(socket, socket);
}

/** Deploys a `program` agent with this source. */
export async function deployOver(host: LineHost, name: string, source: string): Promise<void> {
  const files = {
    'agent.mjs': source,
    'atoll.json': JSON.stringify({ executor: { kind: 'program', command: ['node', 'agent.mjs'] } }),
  };
  const answer = await host.call('agent.deploy', {
    name,
    files: Object.entries(files).map(([path, text]) => ({
      path,
      content: Buffer.from(text).toString('base64'),
    })),
  });
  if (answer.error) throw new Error(answer.error.message);
}
