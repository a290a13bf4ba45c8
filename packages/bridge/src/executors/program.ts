/**
 * Executor `program`: any program that speaks lines (protocols §1). Started once per session and again after it
 * ended. A turn is one line in; lines out are messages, up to the line that begins `{"type":"result"`.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { createLineBlocks, LineTooLong } from '@atoll/protocol/lines';
import { signalGroup } from '../children.ts';
import type { Executor, ExecutorContext, Turn, TurnCause, TurnEnd } from '../executor.ts';
import { within } from '../timers.ts';
import { countLines, cutBlock, MAX_MESSAGE_BYTES } from './program-lines.ts';
import { endOfResult, usageOfResult } from './result.ts';

/** For a program to end by itself after its stdin closed. */
const STOP_GRACE_MS = 2_000;
/** For output that is still in the pipe when the program ended; longer only if something else holds the pipe. */
const CLOSE_GRACE_MS = 1_000;

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

export function createProgramExecutor(context: ExecutorContext): Executor {
  let running: Program | undefined;
  const program = () => {
    if (!running?.alive) running = new Program(context);
    return running;
  };
  return {
    warm: () => void program(),
    // A program keeps its memory in its workspace, if it has any: nothing to hand over.
    resume: () => undefined,
    query: (turn) => program().query(turn),
    interrupt: () => running?.interrupt(),
    kill: () => running?.kill(),
    stop: async () => running?.stop(),
  };
}

/** One process of the program, from its start to its end. */
class Program {
  readonly #context: ExecutorContext;
  readonly #child: Child;
  readonly #ended = Promise.withResolvers<void>();
  #blocks = createLineBlocks(MAX_MESSAGE_BYTES);
  #turn: PromiseWithResolvers<TurnEnd> | undefined;
  #reading = true;
  #failure: { cause: TurnCause; detail: string } | undefined;
  alive = true;

  constructor(context: ExecutorContext) {
    this.#context = context;
    const [file = '', ...args] = context.settings.command ?? [];
    this.#child = spawn(file, args, {
      cwd: context.workspace,
      env: context.env,
      detached: true,
      stdio: 'pipe',
    });
    context.children.add(this.#child);
    this.#listen();
  }

  query(turn: Turn): Promise<TurnEnd> {
    this.#turn = Promise.withResolvers<TurnEnd>();
    const { promise } = this.#turn;
    const { turnId, content, options } = turn;
    if (this.alive) this.#child.stdin.write(`${JSON.stringify({ turnId, content, options })}\n`);
    else this.#end();
    return promise;
  }

  /** As Ctrl-C in a terminal does: to the whole group. */
  interrupt(): void {
    signalGroup(this.#child, 'SIGINT');
  }

  kill(): void {
    this.#context.children.kill(this.#child);
  }

  async stop(): Promise<void> {
    this.#child.stdin.end();
    await within(this.#context.timers, STOP_GRACE_MS, this.#ended.promise);
    this.kill();
  }

  #listen(): void {
    const { stdin, stdout, stderr } = this.#child;
    // EPIPE: the program ended, and its exit tells why.
    stdin.on('error', () => undefined);
    stdout.on('data', (chunk: Buffer) => this.#read(chunk));
    const decoder = new TextDecoder();
    stderr.on('data', (chunk: Buffer) => this.#context.output.log(decoder.decode(chunk, { stream: true })));
    this.#child.once('error', ({ message }) => {
      if (this.#child.pid !== undefined) return;
      this.#failure ??= {
        cause: 'executor_unavailable',
        detail: `The program could not be started: ${message}.`,
      };
      this.#end();
    });
    this.#child.once('exit', () => {
      this.alive = false;
      this.kill();
      this.#closeLater();
    });
    // Only now has all its output been read.
    this.#child.once('close', (code, signal) => {
      const how = signal === null ? `with exit code ${code}` : `on ${signal}`;
      this.#failure ??= {
        cause: 'executor_crashed',
        detail: `The program ended ${how} in the middle of a turn.`,
      };
      this.#end();
    });
  }

  /** A process the program left behind may hold its stdout open for ever. */
  #closeLater(): void {
    this.#context.timers.after(CLOSE_GRACE_MS, () => {
      if (!this.#reading) {
        this.#closeLater();
        return;
      }
      this.#child.stdout.destroy();
      this.#child.stderr.destroy();
    });
  }

  #end(): void {
    this.alive = false;
    this.#ended.resolve();
    const { cause, detail } = this.#failure ?? { cause: 'executor_crashed', detail: 'The program ended.' };
    this.#settle({ status: 'failed', cause, detail });
  }

  #settle(end: TurnEnd): void {
    this.#turn?.resolve(end);
    this.#turn = undefined;
  }

  #read(chunk: Buffer): void {
    try {
      for (const block of this.#blocks.push(chunk)) {
        if (this.#failure) return;
        this.#forward(Buffer.from(block.buffer, block.byteOffset, block.length));
      }
    } catch (error) {
      if (!(error instanceof LineTooLong)) throw error;
      if (!this.#failure) this.#refuse(`a line of more than ${MAX_MESSAGE_BYTES} bytes`);
    }
  }

  #forward(block: Buffer): void {
    if (!this.#turn) {
      this.#drop(block);
      return;
    }
    const { lines, result, garbage, rest } = cutBlock(block);
    const wait = lines === '' ? undefined : this.#context.output.messages(lines, 'latin1');
    if (wait) this.#pauseUntil(wait);
    if (garbage !== undefined) this.#refuse(garbage);
    if (result !== undefined) this.#settle(withoutSession(endOfResult(result, usageOfResult(result, 0))));
    if (rest && rest.length > 0) this.#drop(rest);
  }

  /** The runner is slow: the program is not read, so it stops at its next full pipe (I9). */
  #pauseUntil(wait: Promise<void>): void {
    this.#reading = false;
    this.#child.stdout.pause();
    void wait.then(() => {
      this.#reading = true;
      this.#child.stdout.resume();
    });
  }

  /** Lines between turns belong to none; a second result line must not end the turn that comes. */
  #drop(block: Buffer): void {
    this.#context.output.log(
      `[atoll] the program wrote ${countLines(block)} lines outside a turn; they are dropped\n`,
    );
  }

  #refuse(garbage: string): void {
    this.#failure = {
      cause: 'executor_protocol',
      detail: `The program wrote ${garbage} to its stdout, so it was ended.`,
    };
    this.alive = false;
    this.kill();
  }
}

/** A program has no session to go on with, whatever its result says. */
function withoutSession({ executorSessionId: _, ...end }: TurnEnd): TurnEnd {
  return end;
}
