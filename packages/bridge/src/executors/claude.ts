/**
 * Executor `claude`: the real Claude Agent SDK, one long-lived query per session. This file decides which process
 * serves a turn: the living one, or a new one that resumes the session (after a crash, or when an option of the
 * turn needs a new process).
 */
import type { Executor, ExecutorContext, MakeExecutor, Turn, TurnEnd } from '../executor.ts';
import { type LaunchOptions, launchOptions, type SessionChoice } from './claude-options.ts';
import { ClaudeProcess } from './claude-process.ts';
import { type ClaudeSpare, fits, startSpare } from './claude-spare.ts';
import { trustWorkspace } from './claude-trust.ts';
import { keepSession, keptSession } from './kept-session.ts';

type Sdk = typeof import('@anthropic-ai/claude-agent-sdk');
type Failed = { failed: TurnEnd };
type Started = { process: ClaudeProcess; key: string };

const KEPT_IN = '.claude';
const NOTHING_TO_RESUME = /no conversation found/i;

export function createClaudeExecutor(context: ExecutorContext): Executor {
  return new ClaudeExecutor(context, undefined);
}

/** With a process that waits for the first session which it fits. */
export async function prepareClaude(parked: ExecutorContext): Promise<MakeExecutor> {
  // Why there is none is told at the first query, by the process that is started then.
  const spare = await startSpare(parked).catch(() => undefined);
  return (claimed) => {
    if (!spare || !fits(parked, claimed)) {
      spare?.process.close();
      return new ClaudeExecutor(claimed, undefined);
    }
    const executor = new ClaudeExecutor(claimed, spare);
    // It is there already: by the time of the first message it knows its session.
    executor.warm();
    return executor;
  };
}

class ClaudeExecutor implements Executor {
  readonly #context: ExecutorContext;
  #sdk: Promise<Sdk> | undefined;
  #current: Promise<Started | Failed> | undefined;
  /** The process of `#current`, also while it starts: what `kill` ends. */
  #process: ClaudeProcess | undefined;
  #sessionId: string | undefined;
  /** What the home says, as far as this process read or wrote it. */
  #kept: string | undefined;
  /** Whether the runner asked for this session; then its absence is an error, and no reason to begin anew. */
  #mustResume = false;
  /** Another session's conversation, until there is one of our own. */
  #branchesFrom: string | undefined;
  #interrupted = false;
  /** A query waits for its process. */
  #asked = false;
  /** Serves the first process that is asked for, where that begins a conversation. */
  #spare: ClaudeSpare | undefined;

  constructor(context: ExecutorContext, spare: ClaudeSpare | undefined) {
    this.#context = context;
    this.#spare = spare;
  }

  warm(): void {
    this.#sdk ??= import('@anthropic-ai/claude-agent-sdk');
    this.#sdk.then(
      // Only now, so that a `resume` that comes right after `initialize` finds no process started in vain.
      () => {
        if (!this.#interrupted) this.#current ??= this.#start({});
      },
      // Told at the first query.
      () => undefined,
    );
  }

  resume(executorSessionId: string, { branches }: { branches: boolean }): void {
    this.#sessionId = branches ? undefined : executorSessionId;
    this.#branchesFrom = branches ? executorSessionId : undefined;
    this.#mustResume = true;
    if (this.#process) this.kill();
  }

  async query(turn: Turn): Promise<TurnEnd> {
    this.#interrupted = false;
    this.#await(true);
    const served = await this.#serving(launchOptions(turn.options)).finally(() => this.#await(false));
    if ('failed' in served) return this.#named(served.failed);
    await this.#keep();
    // Interrupted while the process started: the message never reaches it.
    if (this.#interrupted) return { status: 'interrupted', cause: 'interrupted' };
    const end = await served.process.run(turn, turn.options.model ?? this.#context.settings.model);
    if (!served.process.alive) this.#current = undefined;
    if (end.executorSessionId !== undefined) {
      this.#sessionId = end.executorSessionId;
      this.#mustResume = false;
      this.#branchesFrom = undefined;
    }
    return this.#named(end);
  }

  #await(asked: boolean): void {
    this.#asked = asked;
    this.#process?.awaited(asked);
  }

  interrupt(): void {
    this.#interrupted = true;
    this.#process?.interrupt();
  }

  kill(): void {
    this.#process?.kill();
    this.#current = undefined;
  }

  async stop(): Promise<void> {
    this.#interrupted = true;
    await this.#process?.stop();
  }

  /** The process for a turn with these options; at any time one is serving or being started. */
  #serving(launch: LaunchOptions): Promise<Started | Failed> {
    this.#current = this.#replace(this.#current, launch);
    return this.#current;
  }

  async #replace(
    before: Promise<Started | Failed> | undefined,
    launch: LaunchOptions,
  ): Promise<Started | Failed> {
    const current = await before;
    if (current && 'process' in current && current.process.alive) {
      // A budget counts what its process spent, so a turn's own budget needs a process of its own.
      const overspent = launch.maxBudgetUsd !== undefined && current.process.spent;
      if (current.key === keyOf(launch) && !overspent) return current;
      await current.process.stop();
    }
    return this.#start(launch);
  }

  async #start(launch: LaunchOptions): Promise<Started | Failed> {
    const waiting = this.#takeSpare(launch);
    if (waiting) return this.#claim(waiting, launch);
    let sdk: Sdk;
    try {
      this.#sdk ??= import('@anthropic-ai/claude-agent-sdk');
      sdk = await this.#sdk;
    } catch (error) {
      this.#sdk = undefined;
      return unavailable(error);
    }
    const { env, workspace } = this.#context;
    if (env.HOME !== undefined) {
      await trustWorkspace(env.HOME, workspace);
      this.#kept ??= await keptSession(env.HOME, KEPT_IN);
    }
    // Looked at only now, with no wait until the process is there: a `resume` that came meanwhile counts.
    if (this.#branchesFrom !== undefined) return this.#branch(sdk, launch, this.#branchesFrom);
    this.#sessionId ??= this.#kept;
    const known = this.#sessionId;
    if (known === undefined) return this.#launch(sdk, launch, this.#newSession());
    const resumed = await this.#launch(sdk, launch, { resume: known });
    if (!isLost(resumed)) return resumed;
    // A process that crashed before it saved anything leaves nothing to go on with.
    if (!this.#mustResume) return this.#launch(sdk, launch, this.#newSession());
    return { failed: { ...resumed.failed, cause: 'resume_failed' } };
  }

  async #branch(sdk: Sdk, launch: LaunchOptions, from: string): Promise<Started | Failed> {
    const sessionId = crypto.randomUUID();
    const branched = await this.#launch(sdk, launch, { resume: from, forkSession: true, sessionId });
    if (isLost(branched)) return { failed: { ...branched.failed, cause: 'resume_failed' } };
    if ('process' in branched) this.#sessionId = sessionId;
    return branched;
  }

  /** The process that waits, where it can begin this conversation: nothing was begun in a home that is claimed. */
  #takeSpare(launch: LaunchOptions): ClaudeSpare | undefined {
    const spare = this.#spare;
    this.#spare = undefined;
    const begins = this.#sessionId === undefined && this.#branchesFrom === undefined;
    if (begins && keyOf(launch) === keyOf({})) return spare;
    spare?.process.close();
    return undefined;
  }

  async #claim(spare: ClaudeSpare, launch: LaunchOptions): Promise<Started | Failed> {
    const { sdk, sessionId } = spare;
    this.#sessionId = sessionId;
    const kept = this.#keep(); // while it is claimed
    const claimed = await this.#launch(sdk, launch, { sessionId }, spare);
    await kept;
    if ('process' in claimed) return claimed;
    // Its folder has settings that a waiting process does not take, or it died: one of its own is slower.
    spare.process.close();
    return this.#launch(sdk, launch, this.#newSession());
  }

  async #launch(
    sdk: Sdk,
    launch: LaunchOptions,
    session: SessionChoice,
    spare?: ClaudeSpare,
  ): Promise<Started | Failed> {
    const { model } = this.#context.settings;
    try {
      const process = new ClaudeProcess(sdk, this.#context, { launch, model, session, spare });
      this.#process = process;
      process.awaited(this.#asked);
      await process.ready();
      return { process, key: keyOf(launch) };
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      const cause = /native (cli )?binary/i.test(detail) ? 'executor_unavailable' : 'executor_crashed';
      return { failed: { status: 'failed', cause, detail: `Claude could not be started: ${detail}` } };
    }
  }

  /** A crashed turn has no result that names the session; it is the same one still. */
  #named(end: TurnEnd): TurnEnd {
    return this.#sessionId === undefined ? end : { executorSessionId: this.#sessionId, ...end };
  }

  async #keep(): Promise<void> {
    const { HOME: home } = this.#context.env;
    if (home === undefined || this.#sessionId === undefined || this.#kept === this.#sessionId) return;
    this.#kept = this.#sessionId;
    // Without it a crash in this turn forgets the conversation; that is no reason not to have one.
    await keepSession(home, KEPT_IN, this.#kept).catch(() => undefined);
  }

  #newSession(): SessionChoice {
    this.#sessionId = crypto.randomUUID();
    return { sessionId: this.#sessionId };
  }
}

function isLost(started: Started | Failed): started is Failed {
  return 'failed' in started && NOTHING_TO_RESUME.test(started.failed.detail ?? '');
}

function keyOf(launch: LaunchOptions): string {
  return JSON.stringify(launch);
}

function unavailable(error: unknown): Failed {
  const why = error instanceof Error ? error.message : String(error);
  const detail = `The Claude Agent SDK cannot be loaded (${why}). Install it: npm install @anthropic-ai/claude-agent-sdk`;
  return { failed: { status: 'failed', cause: 'executor_unavailable', detail } };
}
