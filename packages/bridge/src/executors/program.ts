/**
 * Executor `program`: any program that speaks lines (protocols §1). Started once per session and again after it
 * ended. A turn is one line in; lines out are messages, up to the line that begins `{"type":"result"`.
 */
import type { Executor, ExecutorContext, Turn, TurnEnd } from '../executor.ts';
import { type Failure, LineProcess } from './line-process.ts';
import { countLines, cutBlock } from './program-lines.ts';
import { endOfResult, usageOfResult } from './result.ts';

export function createProgramExecutor(context: ExecutorContext): Executor {
  let running: Program | undefined;
  const program = () => {
    if (!running?.process.alive) running = new Program(context);
    return running;
  };
  return {
    warm: () => void program(),
    // A program keeps its memory in its workspace, if it has any: nothing to hand over.
    resume: () => undefined,
    query: (turn) => program().query(turn),
    interrupt: () => running?.process.interrupt(),
    kill: () => running?.process.kill(),
    stop: async () => running?.process.stop(),
  };
}

/** One process of the program, from its start to its end. */
class Program {
  readonly process: LineProcess;
  readonly #context: ExecutorContext;
  #turn: PromiseWithResolvers<TurnEnd> | undefined;
  #failure: Failure | undefined;

  constructor(context: ExecutorContext) {
    this.#context = context;
    this.process = new LineProcess({
      name: 'The program',
      command: context.settings.command ?? [],
      context,
      onBlock: (block) => this.#forward(block),
      onEnd: (failure) => {
        this.#failure = failure;
        this.#settle({ status: 'failed', ...failure });
      },
    });
  }

  query({ turnId, content, options }: Turn): Promise<TurnEnd> {
    if (this.#failure) return Promise.resolve({ status: 'failed', ...this.#failure });
    this.#turn = Promise.withResolvers<TurnEnd>();
    this.process.write(JSON.stringify({ turnId, content, options }));
    return this.#turn.promise;
  }

  #settle(end: TurnEnd): void {
    this.#turn?.resolve(end);
    this.#turn = undefined;
  }

  #forward(block: Buffer): void {
    if (!this.#turn) {
      this.#drop(block);
      return;
    }
    const { lines, result, garbage, rest } = cutBlock(block);
    const wait = lines === '' ? undefined : this.#context.output.messages(lines, 'latin1');
    if (wait) this.process.pauseUntil(wait);
    if (garbage !== undefined) this.process.refuse(`wrote ${garbage} to its stdout`);
    if (result !== undefined) this.#settle(withoutSession(endOfResult(result, usageOfResult(result, 0))));
    if (rest && rest.length > 0) this.#drop(rest);
  }

  /** Lines between turns belong to none; a second result line must not end the turn that comes. */
  #drop(block: Buffer): void {
    this.#context.output.log(
      `[atoll] the program wrote ${countLines(block)} lines outside a turn; they are dropped\n`,
    );
  }
}

/** A program has no session to go on with, whatever its result says. */
function withoutSession({ executorSessionId: _, ...end }: TurnEnd): TurnEnd {
  return end;
}
