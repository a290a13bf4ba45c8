/**
 * Executor `acp`: any agent that speaks the Agent Client Protocol (https://agentclientprotocol.com, version 1) on its
 * stdio, one process and one conversation per session. This file decides which process serves a turn: the living one,
 * or after a crash a new one, which goes on with the conversation where the agent can.
 */
import { isExecutorSessionId } from '@atoll/protocol/executor-session';
import { type Executor, type ExecutorContext, SAME_NAME, type Turn, type TurnEnd } from '../executor.ts';
import { within } from '../timers.ts';
import { failureOf } from './acp-end.ts';
import { AcpFailure } from './acp-failure.ts';
import { AcpProcess } from './acp-process.ts';
import { unsayable } from './acp-prompt.ts';
import { keepSession, keptSession } from './kept-session.ts';
import type { Failure } from './line-process.ts';

/** From its start to an open conversation. Programs of some 100 MB take seconds from a cold disk. */
const START_MS = 60_000;
const KEPT_IN = '.atoll';

type Started = { process: AcpProcess } | { failed: Failure };

export function createAcpExecutor(context: ExecutorContext): Executor {
  return new AcpExecutor(context);
}

class AcpExecutor implements Executor {
  readonly #context: ExecutorContext;
  #current: Promise<Started> | undefined;
  /** The process of `#current`, also while it starts: what `kill` ends. */
  #process: AcpProcess | undefined;
  #sessionId: string | undefined;
  /** What the home says, as far as this process read or wrote it. */
  #kept: string | undefined;
  /** Whether the runner asked for this conversation; then it is an error not to have it, and no reason to begin anew. */
  #mustResume = false;
  /** It goes on with another session's conversation, which is told in its first turn: nobody listens before. */
  #branches = false;
  #interrupted = false;
  #told = new Set<string>();

  constructor(context: ExecutorContext) {
    this.#context = context;
  }

  warm(): void {
    this.#current ??= this.#start();
  }

  resume(executorSessionId: string, { branches }: { branches: boolean }): void {
    this.#branches = branches;
    this.#sessionId = executorSessionId;
    this.#mustResume = true;
    // One that has not come to its conversation yet looks for this one.
    if (this.#process?.opening) this.kill();
  }

  async query(turn: Turn): Promise<TurnEnd> {
    this.#interrupted = false;
    if (this.#branches) this.#tell(SAME_NAME);
    const served = await this.#serving();
    if ('failed' in served) return this.#named({ status: 'failed', ...served.failed });
    await this.#keep();
    // Interrupted while the process started: the message never reaches it.
    if (this.#interrupted) return this.#named({ status: 'interrupted', cause: 'interrupted' });
    const { settings } = this.#context;
    for (const name of unsayable(settings, turn.options))
      this.#tell(`ACP has no words for ${name}: it is not applied`);
    const end = await served.process.run(turn, turn.options.model ?? settings.model);
    if (!served.process.alive) this.#current = undefined;
    // Now there is something to go on with.
    if (end.status === 'completed') this.#mustResume = false;
    return this.#named(end);
  }

  interrupt(): void {
    this.#interrupted = true;
    this.#process?.interrupt();
  }

  kill(): void {
    this.#process?.kill();
    this.#process = undefined;
    this.#current = undefined;
  }

  async stop(): Promise<void> {
    this.#interrupted = true;
    await this.#process?.stop();
  }

  /** The process for a turn; at any time one is serving or being started. */
  #serving(): Promise<Started> {
    this.#current = this.#replace(this.#current);
    return this.#current;
  }

  async #replace(before: Promise<Started> | undefined): Promise<Started> {
    const current = await before;
    return current && 'process' in current && current.process.alive ? current : this.#start();
  }

  async #start(): Promise<Started> {
    const process = new AcpProcess(this.#context);
    this.#process = process;
    const opening = this.#open(process).then(
      (): Started => ({ process }),
      (error: unknown): Started => ({ failed: failureOf(error) }),
    );
    const started = await within(this.#context.timers, START_MS, opening);
    if (started && 'process' in started) return started;
    process.kill();
    const detail = `The agent did not open a conversation within ${START_MS / 1000} s.`;
    return started ?? { failed: { cause: 'executor_unavailable', detail } };
  }

  async #open(process: AcpProcess): Promise<void> {
    await process.initialize();
    const { HOME: home } = this.#context.env;
    if (home !== undefined) this.#kept ??= await keptSession(home, KEPT_IN);
    // Looked at only now: a `resume` that came meanwhile counts.
    const known = this.#sessionId ?? this.#kept;
    if (known === undefined) return this.#begin(process);
    if (!process.canResume) {
      this.#tell(
        'this agent cannot go on with an earlier conversation: it begins anew, with the files as they are',
      );
      return this.#begin(process);
    }
    try {
      await process.resume(known);
      this.#sessionId = known;
    } catch (error) {
      if (!process.alive) throw error;
      const { detail } = failureOf(error);
      if (this.#mustResume)
        throw new AcpFailure('resume_failed', `The agent cannot go on with its conversation: ${detail}`);
      // A process that crashed before it saved anything leaves nothing to go on with.
      this.#tell(`the agent cannot go on with its conversation, and begins anew: ${detail}`);
      await this.#begin(process);
    }
  }

  async #begin(process: AcpProcess): Promise<void> {
    await process.begin();
    // Ended meanwhile, for another conversation.
    if (this.#process !== process) return;
    this.#sessionId = process.sessionId;
  }

  /** A crashed turn says nothing of the conversation; it is the same one still. */
  #named(end: TurnEnd): TurnEnd {
    return isExecutorSessionId(this.#sessionId) ? { executorSessionId: this.#sessionId, ...end } : end;
  }

  async #keep(): Promise<void> {
    const { HOME: home } = this.#context.env;
    const id = this.#sessionId;
    if (home === undefined || id === undefined || this.#kept === id) return;
    if (!isExecutorSessionId(id)) {
      this.#tell('the agent names its conversation as none can be kept: it will not be resumed elsewhere');
      return;
    }
    this.#kept = id;
    // Without it a crash in this turn forgets the conversation; that is no reason not to have one.
    await keepSession(home, KEPT_IN, id).catch(() => undefined);
  }

  /** In the session's log, once. */
  #tell(what: string): void {
    if (this.#told.has(what)) return;
    this.#told.add(what);
    this.#context.output.log(`[atoll] ${what}\n`);
  }
}
