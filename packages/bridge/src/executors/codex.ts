/**
 * Executor `codex`: the real Codex by its app-server, one process per session with the session's thread. This file
 * decides which process serves a turn: the living one, or a new one that resumes the thread. The thread's memory lies
 * in the sandbox's home.
 */
import { RpcError } from '@atoll/protocol/json-rpc';
import {
  type Executor,
  type ExecutorContext,
  SAME_NAME,
  type Turn,
  type TurnCause,
  type TurnEnd,
} from '../executor.ts';
import { CODEX, findCodex } from './codex-binary.ts';
import { prepareHome } from './codex-config.ts';
import { type TurnInput, turnInput } from './codex-input.ts';
import { createTurnOutput } from './codex-output.ts';
import { modeProblem } from './codex-policy.ts';
import { CodexThread } from './codex-thread.ts';
import { keepSession, keptSession } from './kept-session.ts';

type Failed = { failed: TurnEnd };
type Opened = { thread: CodexThread };

const NOTHING_TO_RESUME = /no rollout found/i;

export function createCodexExecutor(context: ExecutorContext): Executor {
  return new CodexExecutor(context);
}

class CodexExecutor implements Executor {
  readonly #context: ExecutorContext;
  readonly #output: ReturnType<typeof createTurnOutput>;
  #starting: Promise<CodexThread> | undefined;
  #thread: CodexThread | undefined;
  /** The process that has the thread open. */
  #opened: CodexThread | undefined;
  #home = '';
  #sessionId: string | undefined;
  /** Whether the runner asked for this session; then its absence is an error, and no reason to begin anew. */
  #mustResume = false;
  /** It goes on with another session's conversation, which is told in its first turn: nobody listens before. */
  #branches = false;
  #interrupted = false;

  constructor(context: ExecutorContext) {
    this.#context = context;
    this.#output = createTurnOutput(context.output);
  }

  warm(): void {
    // A failure is told at the first query.
    this.#alive().catch(() => undefined);
  }

  resume(executorSessionId: string, { branches }: { branches: boolean }): void {
    this.#branches = branches;
    this.#sessionId = executorSessionId;
    this.#mustResume = true;
  }

  async query(turn: Turn): Promise<TurnEnd> {
    this.#interrupted = false;
    if (this.#branches) this.#context.output.log(`[atoll] ${SAME_NAME}\n`);
    this.#branches = false;
    this.#output.begin({ deltas: turn.options.includePartialMessages === true });
    try {
      return this.#named(await this.#run(turn));
    } finally {
      this.#output.end();
    }
  }

  interrupt(): void {
    this.#interrupted = true;
    this.#thread?.interrupt();
  }

  kill(): void {
    this.#thread?.kill();
  }

  async stop(): Promise<void> {
    this.#interrupted = true;
    await this.#thread?.stop();
  }

  async #run(turn: Turn): Promise<TurnEnd> {
    const { settings } = this.#context;
    const problem = modeProblem(settings);
    if (problem !== undefined) return failedBy('executor_failed', problem);
    let asked: TurnInput;
    try {
      asked = turnInput(turn);
    } catch (error) {
      return failedBy('executor_failed', messageOf(error));
    }
    const opened = await this.#open();
    if ('failed' in opened) return opened.failed;
    // Interrupted while the process started: the message never reaches it.
    if (this.#interrupted) return { status: 'interrupted', cause: 'interrupted' };
    return opened.thread.run(asked, turn.options.model ?? settings.model);
  }

  /** The process with the thread open in it. */
  async #open(): Promise<Opened | Failed> {
    let thread: CodexThread;
    try {
      thread = await this.#alive();
    } catch (error) {
      return { failed: failedBy('executor_unavailable', messageOf(error)) };
    }
    if (this.#opened === thread) return { thread };
    this.#sessionId ??= await keptSession(this.#home, '.');
    const failed = await this.#openThread(thread);
    if (failed) return { failed: thread.alive ? failed : await thread.failure };
    this.#opened = thread;
    return { thread };
  }

  async #openThread(thread: CodexThread): Promise<TurnEnd | undefined> {
    const known = this.#sessionId;
    try {
      this.#sessionId = await thread.open(known);
    } catch (error) {
      const detail = messageOf(error);
      if (known === undefined) return failedBy('executor_failed', `Codex could not begin: ${detail}`);
      // A process that crashed before it saved anything leaves nothing to go on with.
      const lost = error instanceof RpcError && NOTHING_TO_RESUME.test(detail);
      if (!lost || this.#mustResume) return failedBy('resume_failed', `Codex could not go on: ${detail}`);
      this.#sessionId = undefined;
      return this.#openThread(thread);
    }
    this.#mustResume = false;
    // Without it a crash in this turn forgets the conversation; that is no reason not to have one.
    if (this.#sessionId !== known) await keepSession(this.#home, '.', this.#sessionId).catch(() => undefined);
    return undefined;
  }

  /** A living process; rejects with why there can be none. */
  #alive(): Promise<CodexThread> {
    this.#starting = this.#replace(this.#starting);
    return this.#starting;
  }

  async #replace(before: Promise<CodexThread> | undefined): Promise<CodexThread> {
    const current = await before?.catch(() => undefined);
    return current?.alive ? current : this.#start();
  }

  async #start(): Promise<CodexThread> {
    const context = this.#context;
    const found = findCodex(process.argv[1] ?? '', process.platform);
    if (!found) throw new Error(`Codex is not installed beside Atoll. Install it: npm install ${CODEX}`);
    this.#home = await prepareHome(context.env);
    const { binary } = found;
    this.#thread = new CodexThread({ context, binary, home: this.#home, output: this.#output });
    return this.#thread;
  }

  /** A turn that failed is the same conversation's still. */
  #named(end: TurnEnd): TurnEnd {
    return this.#sessionId === undefined ? end : { executorSessionId: this.#sessionId, ...end };
  }
}

function failedBy(cause: TurnCause, detail: string): TurnEnd {
  return { status: 'failed', cause, detail };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
