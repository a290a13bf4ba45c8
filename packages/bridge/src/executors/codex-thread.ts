/**
 * One app-server with the session's thread in it, and the turn that runs there: starting → open → ended. The next
 * process, which resumes the thread, is `codex.ts`'s business.
 */
import type { ExecutorContext, TurnEnd } from '../executor.ts';
import { isRecord } from '../params.ts';
import { within } from '../timers.ts';
import { type CodexApprovals, createCodexApprovals } from './codex-approvals.ts';
import { processArguments, processEnv, threadParams } from './codex-config.ts';
import { endOfTurn } from './codex-end.ts';
import { type TurnInput, textInput } from './codex-input.ts';
import type { TurnOutput } from './codex-output.ts';
import { CodexServer } from './codex-server.ts';
import { createUsage } from './codex-usage.ts';
import { number } from './result.ts';

type Params = Record<string, unknown>;
type RunningTurn = {
  /** Known once Codex answered. */
  id?: string;
  interrupted: boolean;
  /** Turns that ended before that. */
  ended: Params[];
  end: PromiseWithResolvers<TurnEnd>;
};

/** For commands that an interrupted turn left running to be ended. */
const CLEAN_MS = 1_000;

const CLIENT = { name: 'atoll', title: 'Atoll', version: '1' };
/** About this machine and its user's account, and no conversation. */
const UNWANTED = ['account/rateLimits/updated', 'remoteControl/status/changed', 'thread/readState/changed'];

export type CodexThreadOptions = {
  context: ExecutorContext;
  binary: string;
  /** Codex's own, with its memory. */
  home: string;
  output: TurnOutput;
};

export class CodexThread {
  readonly #context: ExecutorContext;
  readonly #server: CodexServer;
  readonly #approvals: CodexApprovals;
  readonly #usage = createUsage();
  readonly #initialized: Promise<unknown>;
  /** Announced changes of files, of which a request for approval has but the id. */
  readonly #items = new Map<unknown, Params>();
  #threadId = '';
  /** What a turn that names no model gets. */
  #model: unknown;
  #turn: RunningTurn | undefined;

  constructor({ context, binary, home, output }: CodexThreadOptions) {
    this.#context = context;
    const { settings, approve, workspace, env } = context;
    this.#approvals = createCodexApprovals({
      settings,
      approve,
      item: (id) => this.#items.get(id),
      explain: (params, text) => this.#explain(params, text),
      interrupt: () => this.interrupt(),
    });
    this.#server = new CodexServer({
      command: [binary, ...processArguments(workspace)],
      context: { ...context, env: processEnv(env, home) },
      output,
      handlers: this.#approvals.handlers,
      onWatched: (method, params) => this.#watch(method, params),
    });
    const capabilities = {
      experimentalApi: true,
      requestAttestation: false,
      optOutNotificationMethods: UNWANTED,
    };
    this.#initialized = this.#server.call('initialize', { clientInfo: CLIENT, capabilities });
    this.#initialized.then(
      () => this.#server.notify('initialized'),
      // Told to whoever opens the thread.
      () => undefined,
    );
  }

  get alive(): boolean {
    return this.#server.alive;
  }

  /** What a turn ends with when the process ended. Settles when that is known. */
  get failure(): Promise<TurnEnd> {
    return this.#server.failure;
  }

  /** Begins a thread, or goes on with `resumed`. Answers its id; rejects with what Codex has against it. */
  async open(resumed: string | undefined): Promise<string> {
    await this.#initialized;
    const { settings, workspace, env } = this.#context;
    const params = threadParams(settings, workspace, env);
    const { thread, model } = await (resumed === undefined
      ? this.#server.call('thread/start', params)
      : this.#server.call('thread/resume', { ...params, threadId: resumed, excludeTurns: true }));
    this.#threadId = isRecord(thread) ? String(thread.id) : '';
    this.#model = model;
    return this.#threadId;
  }

  async run(asked: TurnInput, model: string | undefined): Promise<TurnEnd> {
    const turn: RunningTurn = { interrupted: false, ended: [], end: Promise.withResolvers() };
    this.#turn = turn;
    this.#usage.reset();
    void this.#begin(turn, asked, model);
    const end = await Promise.race([turn.end.promise, this.failure]);
    this.#turn = undefined;
    this.#items.clear();
    this.#approvals.withdrawAll();
    return end;
  }

  interrupt(): void {
    const turn = this.#turn;
    if (!turn) return;
    turn.interrupted = true;
    if (turn.id !== undefined)
      void this.#try('turn/interrupt', { threadId: this.#threadId, turnId: turn.id });
  }

  kill(): void {
    this.#server.kill();
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }

  async #begin(turn: RunningTurn, asked: TurnInput, model: string | undefined): Promise<void> {
    try {
      const params = { threadId: this.#threadId, model: model ?? this.#model, ...asked };
      const started = await this.#server.call('turn/start', params);
      turn.id = isRecord(started.turn) ? String(started.turn.id) : '';
    } catch (error) {
      if (!this.alive) return;
      const detail = error instanceof Error ? error.message : String(error);
      turn.end.resolve({ status: 'failed', cause: 'executor_failed', detail });
    }
    for (const ended of turn.ended) this.#complete(turn, ended);
    if (turn.interrupted) this.interrupt();
  }

  #watch(method: string, params: Params): void {
    const { item } = params;
    if (method === 'thread/tokenUsage/updated') this.#usage.take(params);
    if (method === 'serverRequest/resolved') this.#approvals.withdraw(params.requestId);
    if (method === 'item/started' && isRecord(item) && item.type === 'fileChange')
      this.#items.set(item.id, item);
    if (method === 'item/completed' && isRecord(item)) this.#items.delete(item.id);
    if (method !== 'turn/completed' || params.threadId !== this.#threadId) return;
    if (this.#turn && isRecord(params.turn)) this.#complete(this.#turn, params.turn);
  }

  #complete(turn: RunningTurn, ended: Params): void {
    if (turn.id === undefined) turn.ended.push(ended);
    if (turn.id !== ended.id) return;
    const usage = this.#usage.of(number(ended.durationMs));
    const end = { ...endOfTurn(ended), usage };
    if (end.status !== 'interrupted') turn.end.resolve(end);
    // Codex leaves the commands of an interrupted turn running.
    else void this.#clean().then(() => turn.end.resolve(end));
  }

  async #clean(): Promise<void> {
    const cleaned = this.#try('thread/backgroundTerminals/clean', { threadId: this.#threadId });
    await within(this.#context.timers, CLEAN_MS, cleaned);
  }

  async #explain({ threadId, turnId }: Params, text: string): Promise<void> {
    await this.#try('turn/steer', { threadId, expectedTurnId: turnId, input: [textInput(text)] });
  }

  /** For what a turn that ends in the meantime makes pointless. */
  async #try(method: string, params: Params): Promise<void> {
    await this.#server.call(method, params).catch(() => undefined);
  }
}
