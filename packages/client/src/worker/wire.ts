/** The pipe or the socket to one incarnation of the worker, as lines both ways. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { createLineBlocks } from '@atoll/protocol/lines';
import { WorkerGone } from './errors.ts';

export type WireOptions = {
  /** The program and its first words, `worker` not among them. Default: the `atoll` installed beside, or that on PATH. */
  command?: readonly string[] | undefined;
  /** What follows `worker`. */
  args?: readonly string[] | undefined;
  /** The worker's environment. Default: that of this process. */
  env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Told what the worker writes to its stderr: its log, in pieces. */
  onLog?: ((text: string) => void) | undefined;
  /** A worker that listens there already, in place of one of our own. */
  socket?: string | undefined;
  /** The launch token. Default for a worker of our own: a random one. */
  token?: string | undefined;
};

export type Wire = {
  readonly token: string | undefined;
  write(line: string): void;
  /** Ends it; resolves when nothing of it is left. */
  close(): Promise<void>;
  /** Resolves with the reason once it ended, whoever ended it, after its last line. */
  readonly ended: Promise<WorkerGone>;
};

/** A worker ends within two seconds of its stdin. */
const PATIENCE_MS = 5000;
const LAST_WORDS_CHARS = 2000;

export function openWire(options: WireOptions, onLine: (line: string) => void): Wire {
  return options.socket === undefined ? spawnWorker(options, onLine) : reachSocket(options, onLine);
}

function spawnWorker(options: WireOptions, onLine: (line: string) => void): Wire {
  const [program = 'atoll', ...words] = options.command ?? foundCommand();
  const token = options.token ?? randomBytes(24).toString('base64url');
  const child = spawn(program, [...words, 'worker', ...(options.args ?? [])], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...(options.env ?? process.env), ATOLL_LAUNCH_TOKEN: token },
  });
  let lastWords = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    lastWords = (lastWords + text).slice(-LAST_WORDS_CHARS);
    options.onLog?.(text);
  });
  const read = readLines(child.stdout, onLine, () => child.kill('SIGKILL'));
  child.stdin.on('error', () => undefined);
  const ended = endOf(child).then(async (how) => {
    const why = [await read, lastWords.trim()].filter(Boolean).map((words) => `: ${words}`);
    return new WorkerGone(`the worker ${how}${why.join('')}`);
  });
  return {
    token,
    write: (line) => void child.stdin.write(line),
    async close() {
      child.stdin.end();
      const impatience = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
      await ended;
      clearTimeout(impatience);
    },
    ended,
  };
}

async function endOf(child: ChildProcess): Promise<string> {
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    return signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
  } catch (error) {
    return `cannot be started (${error instanceof Error ? error.message : error})`;
  }
}

function reachSocket(options: WireOptions, onLine: (line: string) => void): Wire {
  const path = options.socket ?? '';
  const socket = connect(path);
  let why = 'closed the connection';
  socket.on('error', (error) => {
    why = `cannot be reached (${error.message})`;
  });
  const read = readLines(socket, onLine, () => socket.destroy());
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const ended = Promise.all([closed, read]).then(() => new WorkerGone(`the worker on ${path} ${why}`));
  return {
    token: options.token,
    write: (line) => void (socket as Writable).write(line),
    async close() {
      socket.destroy();
      await ended;
    },
    ended,
  };
}

/** Resolves after the last line, with what is wrong with it when there is. Nothing is read after that. */
async function readLines(
  input: Readable,
  onLine: (line: string) => void,
  giveUp: () => void,
): Promise<string | undefined> {
  const blocks = createLineBlocks();
  try {
    for await (const chunk of input as AsyncIterable<Buffer>)
      for (const block of blocks.push(chunk)) for (const line of textLines(block)) onLine(line);
    return undefined;
  } catch (error) {
    giveUp();
    return error instanceof Error ? error.message : String(error);
  }
}

/** Decoded all at once: a busy worker's lines come by the hundred. */
function textLines(block: Uint8Array): string[] {
  const text = Buffer.from(block.buffer, block.byteOffset, block.byteLength - 1).toString();
  return text.split('\n');
}

/** Of an app that has `@atoll/cli` among its packages, that one. */
function foundCommand(): readonly string[] {
  try {
    const manifest = createRequire(import.meta.url).resolve('@atoll/cli/package.json');
    return [process.execPath, join(manifest, '../src/main.mjs')];
  } catch {
    return ['atoll'];
  }
}
