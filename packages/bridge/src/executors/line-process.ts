/**
 * One process of a program that speaks lines on its stdio, from its start to its end. It knows bytes and how processes
 * end; what the lines say is its owner's business.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { createLineBlocks, LineTooLong } from '@atoll/protocol/lines';
import { signalGroup } from '../children.ts';
import type { ExecutorContext, TurnCause } from '../executor.ts';
import { within } from '../timers.ts';
import { MAX_MESSAGE_BYTES } from './program-lines.ts';

/** For a program to end by itself after its stdin closed. */
const STOP_GRACE_MS = 2_000;
/** For output that is still in the pipe when the program ended; longer only if something else holds the pipe. */
const CLOSE_GRACE_MS = 1_000;
/** What may wait for a program that does not read; a turn's own content is at most 64 MiB. */
const MAX_UNREAD_BYTES = 128 * 1024 * 1024;
const MAX_STDERR_CHARS = 1_000;
const MAX_SHOWN_CHARS = 200;

export type Failure = { cause: TurnCause; detail: string };

export type LineProcessOptions = {
  /** What sentences about it begin with: `The program`. */
  name: string;
  /** Program and arguments. */
  command: readonly string[];
  context: ExecutorContext;
  /** Whole lines, each ended by LF. Not called after `refuse`. */
  onBlock(block: Buffer): void;
  /** Once, when it ended and all of its output has been read. */
  onEnd(failure: Failure): void;
};

export class LineProcess {
  readonly #options: LineProcessOptions;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #ended = Promise.withResolvers<void>();
  readonly #blocks = createLineBlocks(MAX_MESSAGE_BYTES);
  #reading = true;
  #failure: Failure | undefined;
  #stderrTail = '';
  alive = true;

  constructor(options: LineProcessOptions) {
    const { command, context } = options;
    const [file = '', ...args] = command;
    this.#options = options;
    this.#child = spawn(file, args, {
      cwd: context.workspace,
      env: context.env,
      detached: true,
      stdio: 'pipe',
    });
    context.children.add(this.#child);
    this.#listen();
  }

  /** Nothing happens when it has ended. */
  write(line: string): void {
    if (!this.alive) return;
    this.#child.stdin.write(`${line}\n`);
    if (this.#child.stdin.writableLength > MAX_UNREAD_BYTES) this.refuse('does not read its stdin');
  }

  /** The runner is slow: the program is not read, so it stops at its next full pipe (I9). */
  pauseUntil(wait: Promise<void>): void {
    this.#reading = false;
    this.#child.stdout.pause();
    void wait.then(() => {
      this.#reading = true;
      this.#child.stdout.resume();
    });
  }

  /** Ends it for what it did. */
  refuse(what: string): void {
    this.#failure ??= {
      cause: 'executor_protocol',
      detail: `${this.#options.name} ${what}, so it was ended.`,
    };
    this.alive = false;
    this.kill();
  }

  /** As Ctrl-C in a terminal does: to the whole group. */
  interrupt(): void {
    signalGroup(this.#child, 'SIGINT');
  }

  kill(): void {
    this.#options.context.children.kill(this.#child);
  }

  async stop(): Promise<void> {
    this.#child.stdin.end();
    await within(this.#options.context.timers, STOP_GRACE_MS, this.#ended.promise);
    this.kill();
  }

  #listen(): void {
    const { stdin, stdout, stderr } = this.#child;
    const { name, context, onEnd } = this.#options;
    // EPIPE: the program ended, and its exit tells why.
    stdin.on('error', () => undefined);
    stdout.on('data', (chunk: Buffer) => this.#read(chunk));
    const decoder = new TextDecoder();
    stderr.on('data', (chunk: Buffer) => {
      const text = decoder.decode(chunk, { stream: true });
      this.#stderrTail = (this.#stderrTail + text).slice(-MAX_STDERR_CHARS);
      context.output.log(text);
    });
    const end = (failure: Failure) => {
      this.alive = false;
      this.#ended.resolve();
      onEnd(this.#failure ?? failure);
    };
    this.#child.once('error', (error: NodeJS.ErrnoException) => {
      if (this.#child.pid !== undefined) return;
      const why = whyNotStarted(this.#child.spawnfile, error);
      end({ cause: 'executor_unavailable', detail: `${name} could not be started: ${why}.` });
    });
    this.#child.once('exit', () => {
      this.alive = false;
      this.kill();
      this.#closeLater();
    });
    // Only now has all its output been read.
    this.#child.once('close', (code, signal) => {
      if (this.#child.pid === undefined) return;
      const how = signal === null ? `with exit code ${code}` : `on ${signal}`;
      const said = this.#stderrTail.trim().toWellFormed();
      const detail = `${name} ended ${how}${said === '' ? '.' : `: ${said}`}`;
      end({ cause: 'executor_crashed', detail });
    });
  }

  /** A process the program left behind may hold its stdout open for ever. */
  #closeLater(): void {
    this.#options.context.timers.after(CLOSE_GRACE_MS, () => {
      if (!this.#reading) {
        this.#closeLater();
        return;
      }
      this.#child.stdout.destroy();
      this.#child.stderr.destroy();
    });
  }

  #read(chunk: Buffer): void {
    if (this.#failure) return;
    try {
      for (const block of this.#blocks.push(chunk)) {
        if (this.#failure) return;
        this.#options.onBlock(Buffer.from(block.buffer, block.byteOffset, block.length));
      }
    } catch (error) {
      if (!(error instanceof LineTooLong)) throw error;
      this.refuse(`wrote a line of more than ${MAX_MESSAGE_BYTES} bytes to its stdout`);
    }
  }
}

function whyNotStarted(file: string, { code, message }: NodeJS.ErrnoException): string {
  const program = file.slice(0, MAX_SHOWN_CHARS).toWellFormed();
  if (code === 'ENOENT')
    return `there is no program ${program} in its sandbox, or not what its first line names. Bring it along in the agent's folder, or offer it by an executor profile`;
  return code === 'EACCES' ? `${program} may not be executed there` : message;
}
