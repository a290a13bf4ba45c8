/**
 * One process of an ACP agent and the one conversation in it: initialized → open → (turns) → ended. Which process serves
 * a turn, and what it goes on with, is `acp.ts`'s business.
 */
import { messageLine } from '@atoll/protocol/message-line';
import type { ExecutorContext, Turn, TurnEnd } from '../executor.ts';
import { type AcpConnection, openAcpConnection } from './acp-connection.ts';
import { endOfError, endOfPrompt } from './acp-end.ts';
import { AcpFailure, notForAgent } from './acp-failure.ts';
import { createAcpModes } from './acp-modes.ts';
import { createAcpPermissions } from './acp-permissions.ts';
import { type AcpCapabilities, capabilitiesOf, mcpServersOf, member, promptOf } from './acp-prompt.ts';
import { createHeldOutput, type HeldOutput } from './held-output.ts';
import type { Failure } from './line-process.ts';

const ACP_VERSION = 1;

/** The agent uses its own tools, in the same jail: neither files nor terminals are offered to it. */
const CLIENT = {
  protocolVersion: ACP_VERSION,
  clientInfo: { name: 'atoll', title: 'Atoll', version: '1' },
  clientCapabilities: {
    fs: { readTextFile: false, writeTextFile: false },
    terminal: false,
    elicitation: { form: {} },
  },
};

type Running = { prompted: boolean; abort: AbortController };

export class AcpProcess {
  readonly #context: ExecutorContext;
  readonly #connection: AcpConnection;
  readonly #permissions: ReturnType<typeof createAcpPermissions>;
  readonly #modes: ReturnType<typeof createAcpModes>;
  #capabilities: AcpCapabilities = capabilitiesOf(undefined);
  #failure: Failure | undefined;
  #turn: Running | undefined;
  readonly #held: HeldOutput;
  /** While the agent repeats an earlier conversation, which the log has already. */
  #repeating = false;
  #costUsd: number | undefined;
  sessionId: string | undefined;
  /** It has been told which conversation is wanted. */
  opening = false;

  constructor(context: ExecutorContext) {
    this.#context = context;
    this.#held = createHeldOutput(context.output, 'utf8');
    this.#permissions = createAcpPermissions({
      policies: context.settings.approvals,
      approve: context.approve,
      signal: () => this.#turn?.abort.signal ?? AbortSignal.abort(),
      onStorm: () => this.#connection.process.refuse('asked for more than anybody could decide'),
    });
    this.#connection = openAcpConnection({
      context,
      handlers: this.#permissions.handlers,
      onUpdate: (params, text) => this.#onUpdate(params, text),
      onEnd: (failure) => {
        this.#failure = failure;
        this.#held.release();
      },
    });
    this.#modes = createAcpModes((method, params) => this.#call(method, params));
  }

  get alive(): boolean {
    return this.#connection.process.alive;
  }

  get canResume(): boolean {
    return this.#capabilities.resume !== undefined;
  }

  /** Rejects when the agent cannot be spoken with. */
  async initialize(): Promise<void> {
    const answer = await this.#connection.peer.call('initialize', CLIENT);
    const version = member(answer, 'protocolVersion');
    if (version !== ACP_VERSION)
      throw new AcpFailure(
        'executor_protocol',
        `The agent speaks version ${String(version)} of ACP, and this bridge ${ACP_VERSION}.`,
      );
    this.#capabilities = capabilitiesOf(answer);
  }

  /** Begins a conversation. Rejects with why it cannot. */
  async begin(): Promise<void> {
    this.opening = true;
    const opened = await this.#connection.peer.call('session/new', this.#place());
    const id = member(opened, 'sessionId');
    if (typeof id !== 'string') throw notForAgent('The agent opened a session without a name.');
    this.sessionId = id;
    this.#costUsd = 0;
    await this.#modes.opened(opened, this.#context.settings.permissionMode);
  }

  /** Goes on with an earlier one. Rejects with why it cannot. */
  async resume(sessionId: string): Promise<void> {
    const { resume = 'session/load' } = this.#capabilities;
    this.opening = true;
    this.#repeating = true;
    try {
      this.sessionId = sessionId;
      const opened = await this.#connection.peer.call(resume, { sessionId, ...this.#place() });
      await this.#modes.opened(opened, this.#context.settings.permissionMode);
    } finally {
      this.#repeating = false;
    }
  }

  async run({ content }: Turn, model: string | undefined): Promise<TurnEnd> {
    if (this.#failure) return { status: 'failed', ...this.#failure };
    const running: Running = { prompted: false, abort: new AbortController() };
    this.#turn = running;
    this.#held.release();
    const before = this.#costUsd;
    try {
      const prompt = promptOf(content, this.#capabilities);
      await this.#modes.setModel(model);
      if (running.abort.signal.aborted) return { status: 'interrupted', cause: 'interrupted' };
      running.prompted = true;
      const answer = await this.#call('session/prompt', { prompt });
      return endOfPrompt(answer, Math.max(0, (this.#costUsd ?? 0) - (before ?? this.#costUsd ?? 0)));
    } catch (error) {
      return endOfError(error);
    } finally {
      this.#turn = undefined;
      // What still waits for a decision waits for nothing.
      running.abort.abort();
    }
  }

  interrupt(): void {
    const turn = this.#turn;
    if (!turn) return;
    turn.abort.abort();
    if (!turn.prompted || this.sessionId === undefined) return;
    // A closed connection has ended the turn already.
    this.#connection.peer.notify('session/cancel', { sessionId: this.sessionId }).catch(() => undefined);
  }

  kill(): void {
    this.#connection.process.kill();
  }

  async stop(): Promise<void> {
    this.#held.release();
    await this.#connection.process.stop();
  }

  #place(): Record<string, unknown> {
    const { workspace, settings } = this.#context;
    return { cwd: workspace, mcpServers: mcpServersOf(settings.mcpServers, this.#capabilities) };
  }

  #call(method: string, params: Record<string, unknown>): Promise<unknown> {
    return this.#connection.peer.call(method, { sessionId: this.sessionId, ...params });
  }

  #onUpdate({ update }: Record<string, unknown>, text: string): Promise<void> | undefined {
    this.#permissions.note(update);
    const cost = member(update, 'cost');
    const amount = member(cost, 'amount');
    if (typeof amount === 'number' && member(cost, 'currency') === 'USD') this.#costUsd = amount;
    if (this.#repeating) return undefined;
    const line = messageLine(text);
    return this.#turn ? this.#context.output.messages(line, 'utf8') : this.#held.hold(line);
  }
}
