/**
 * One live query of the Claude Agent SDK, which is one process of the Claude CLI: starting → ready → ended. Turns
 * are pushed into its input; its messages go out in the order they come. The next process, with `resume`, is
 * `claude.ts`'s business.
 */
import type { ChildProcess } from 'node:child_process';
import type {
  Query,
  SDKMessage,
  SDKUserMessage,
  SpawnedProcess,
  SpawnOptions,
} from '@anthropic-ai/claude-agent-sdk';
import { messageLine } from '@atoll/protocol/message-line';
import type { ExecutorContext, Turn, TurnEnd } from '../executor.ts';
import { isRecord } from '../params.ts';
import { within } from '../timers.ts';
import { createInput } from './claude-input.ts';
import { type SdkOptionsInput, sdkOptions } from './claude-options.ts';
import type { ClaudeSpare } from './claude-spare.ts';
import { exitOf, type SpawnContext, spawnClaude } from './claude-spawn.ts';
import { createHeldOutput, type HeldOutput } from './held-output.ts';
import { MAX_MESSAGE_BYTES } from './program-lines.ts';
import { endOfResult, number, usageOfResult } from './result.ts';

type Sdk = typeof import('@anthropic-ai/claude-agent-sdk');
type RunningTurn = { uuid: string; end: PromiseWithResolvers<TurnEnd> };

/** For the CLI to save its transcript. */
const STOP_GRACE_MS = 3_000;
/** An interrupt that came before the CLI took the message up is repeated after this. */
const INTERRUPT_AGAIN_MS = 250;
const MAX_STDERR_CHARS = 1_000;

export class ClaudeProcess {
  readonly #context: ExecutorContext;
  readonly #query: Query;
  readonly #input = createInput<SDKUserMessage>();
  readonly #ended = Promise.withResolvers<void>();
  #child: ChildProcess | undefined;
  #turn: RunningTurn | undefined;
  /** A turn waits for this process to be ready. */
  #awaited = false;
  readonly #held: HeldOutput;
  /** Set while the runner, or the absence of a turn, holds messages back. */
  #wait: Promise<void> | undefined;
  #lastErrors = '';
  #stderrTail = '';
  #costUsd = 0;
  readonly #claimed: Promise<unknown> | undefined;
  /** What the CLI uses now; null when a resumed session may have kept another model than the default. */
  #model: string | undefined | null;
  alive = true;

  constructor(
    sdk: Sdk,
    context: ExecutorContext,
    {
      spare,
      ...options
    }: Omit<SdkOptionsInput, 'settings' | 'workspace' | 'env' | 'approve'> & {
      spare: ClaudeSpare | undefined;
    },
  ) {
    const { settings, workspace, env, approve } = context;
    this.#context = context;
    this.#held = createHeldOutput(context.output, 'utf8');
    this.#model = options.model ?? ('resume' in options.session ? null : undefined);
    const wanted = sdkOptions({ ...options, settings, workspace, env, approve });
    if (spare) {
      // The model of a claim may be refused while the session runs on; a turn that sets it tells.
      this.#model = spare.model;
      this.#child = spare.adopt(this.#listener());
      const { permissionMode } = wanted;
      this.#query = spare.process.claim({
        prompt: this.#input,
        options: { cwd: workspace, ...(permissionMode && { permissionMode }) },
      });
      this.#claimed = spare.process.claimed;
    } else {
      this.#query = sdk.query({
        prompt: this.#input,
        options: { ...wanted, spawnClaudeCodeProcess: (spawning) => this.#spawn(spawning) },
      });
    }
    void this.#consume();
  }

  /** Whether this process has spent money, which a budget counts per process. */
  get spent(): boolean {
    return this.#costUsd > 0;
  }

  /** Settles when the CLI has started; rejects with what it said when it has not. */
  async ready(): Promise<void> {
    try {
      await (this.#claimed ?? this.#query.initializationResult());
    } catch (error) {
      this.#query.close();
      // Its last words are in messages that may still be on their way.
      await within(this.#context.timers, STOP_GRACE_MS, this.#ended.promise);
      throw new Error(this.#lastErrors || this.#stderrTail.trim() || messageOf(error), { cause: error });
    }
  }

  /** What it says while a turn waits for it is that turn's already. */
  awaited(is: boolean): void {
    this.#awaited = is;
    if (is) this.#held.release();
  }

  async run(turn: Turn, model: string | undefined): Promise<TurnEnd> {
    if (!this.alive) return this.#crashed();
    const running = { uuid: crypto.randomUUID(), end: Promise.withResolvers<TurnEnd>() };
    this.#turn = running;
    this.#held.release();
    void this.#push(turn, model, running);
    return running.end.promise;
  }

  interrupt(): void {
    const turn = this.#turn;
    if (!turn) return;
    this.#query.interrupt().then(
      (receipt) => {
        if (!receipt?.still_queued.includes(turn.uuid)) return;
        this.#context.timers.after(INTERRUPT_AGAIN_MS, () => this.#turn === turn && this.interrupt());
      },
      // The process ended in the meantime, and its end is the turn's.
      () => undefined,
    );
  }

  kill(): void {
    if (this.#child) this.#context.children.kill(this.#child);
    this.#query.close();
  }

  async stop(): Promise<void> {
    this.#held.release();
    this.#query.close();
    await within(this.#context.timers, STOP_GRACE_MS, exitOf(this.#child));
    this.kill();
  }

  async #push({ content }: Turn, model: string | undefined, running: RunningTurn): Promise<void> {
    try {
      if (model !== this.#model) await this.#query.setModel(model);
      this.#model = model;
    } catch (error) {
      if (this.#turn === running)
        this.#settle({
          status: 'failed',
          cause: 'model_error',
          detail: `The model cannot be set: ${messageOf(error)}`,
        });
      return;
    }
    const message = { role: 'user', content } as SDKUserMessage['message'];
    this.#input.push({
      type: 'user',
      message,
      parent_tool_use_id: null,
      uuid: running.uuid as SDKUserMessage['uuid'] & string,
    });
  }

  async #consume(): Promise<void> {
    let failure = '';
    try {
      for await (const message of this.#query) {
        this.#wait = this.#forward(message);
        if (this.#wait) await this.#wait;
        this.#wait = undefined;
        if (message.type === 'result') this.#onResult(message as unknown as Record<string, unknown>);
      }
    } catch (error) {
      failure = messageOf(error);
    }
    this.alive = false;
    this.#wait = undefined;
    this.#ended.resolve();
    this.#settle(this.#crashed(failure));
  }

  #forward(message: SDKMessage): Promise<void> | undefined {
    const json = JSON.stringify(message);
    if (Buffer.byteLength(json) > MAX_MESSAGE_BYTES)
      throw new Error('a message is larger than a line may be');
    const line = messageLine(json);
    return this.#turn || this.#awaited ? this.#context.output.messages(line, 'utf8') : this.#held.hold(line);
  }

  #onResult(result: Record<string, unknown>): void {
    const usage = usageOfResult(result, this.#costUsd);
    this.#costUsd = Math.max(this.#costUsd, number(result.total_cost_usd));
    if (Array.isArray(result.errors)) this.#lastErrors = result.errors.join('; ').slice(0, MAX_STDERR_CHARS);
    if (this.#turn && answers(result, this.#turn.uuid)) this.#settle(endOfResult(result, usage));
  }

  #settle(end: TurnEnd): void {
    this.#turn?.end.resolve(end);
    this.#turn = undefined;
  }

  #spawn(options: SpawnOptions): SpawnedProcess {
    const { children } = this.#context;
    const { child, spawned } = spawnClaude(options, { children, ...this.#listener() });
    this.#child = child;
    return spawned;
  }

  #listener(): Pick<SpawnContext, 'onStderr' | 'waiting'> {
    return {
      onStderr: (text) => {
        this.#stderrTail = (this.#stderrTail + text).slice(-MAX_STDERR_CHARS);
        this.#context.output.log(text);
      },
      waiting: () => this.#wait,
    };
  }

  #crashed(failure = ''): TurnEnd {
    const why = failure || 'the Claude process ended';
    const said = this.#stderrTail.trim();
    return { status: 'failed', cause: 'executor_crashed', detail: said ? `${why}: ${said}` : `${why}.` };
  }
}

/** A background task that finishes makes the CLI run a turn of its own; its result is not the user's. */
function answers(result: Record<string, unknown>, uuid: string): boolean {
  const { user_message_uuids: uuids, origin } = result;
  if (Array.isArray(uuids)) return uuids.includes(uuid);
  return !isRecord(origin) || origin.kind === 'human';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
