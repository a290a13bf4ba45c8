/**
 * One sandbox from its start to its end: the driver's process, the bridge in it, and the commands that run through it.
 *
 * Stages: `starting` (process up, bridge answers `initialize` and `resume`) → (`parked` → `claim`) → `ready` (commands) → `ended` (nothing
 * runs; every command got its end). The end comes once, from whoever is first: asked for, the process, the wire.
 */
import type { ApprovalDecision } from '@atoll/protocol/approvals';
import { AtollError } from '@atoll/protocol/errors';
import { isExecutorSessionId } from '@atoll/protocol/executor-session';
import { parse } from '@atoll/protocol/parse';
import type {
  CommandEnd,
  CommandEvent,
  ExecutorSettings,
  Messages,
  MessagesEvent,
  SandboxCommand,
} from '@atoll/protocol/runner-link';
import { PROTOCOL_VERSION } from '@atoll/protocol/wire';
import type * as v from 'valibot';
import { createApprovals } from './approvals.ts';
import { type Bridge, createBridge } from './bridge.ts';
import {
  execReply,
  initializeReply,
  logNotification,
  outputNotification,
  queryReply,
} from './bridge-replies.ts';
import { type CommandStream, createCommandStream, EVENT_BYTES, linesOf, sizeOf } from './command-stream.ts';
import type { SandboxEndCause, SandboxExit, SandboxProcess } from './driver.ts';
import type { Logger } from './logger.ts';

/** An exec whose output nobody takes must not hold up the turn beside it: it is ended instead. */
const MAX_UNREAD_OUTPUT_BYTES = 16 * 1024 * 1024;
/** What an executor may write to its stderr in one turn, each piece charged as an event. */
const MAX_LOG_CHARS = 256 * 1024;
/** After an interrupt; the bridge itself gives its executor 5 s. */
const INTERRUPT_MS = 10_000;
/** Messages between turns wait for the next one; more than this stops the reading. */
const MAX_HELD_BYTES = 4 * 1024 * 1024;

/** A cancellation may overtake its command; most of those that are noted come after their command's end. */
const MAX_CANCELLED = 256;

/** A bridge that closed its channel is ending, and its exit says why; one that lives on is of no use to anybody. */
const CLOSED_MS = 1000;
const MAX_SAID_CHARS = 2000;

export type Sandbox = {
  readonly id: string;
  readonly workspaceId: string;
  readonly epoch: number;
  readonly pid: number;
  /** Resolves when the bridge is ready; rejects with `executor_failed` or `sandbox_failed`. */
  initialize(settings: ExecutorSettings | undefined, options: InitializeOptions): Promise<void>;
  /** Of a parked one: whose it is, and what its session has of its own. Rejects as `initialize` does. */
  claim(
    settings: ExecutorSettings,
    options: Pick<InitializeOptions, 'env' | 'traceparent' | 'timeoutMs'>,
  ): Promise<void>;
  command(request: SandboxCommand): AsyncIterable<CommandEvent>;
  /** See RunnerLink.said. */
  takeHeld(): readonly MessagesEvent[];
  cancel(commandId: string): void;
  decide(requestId: string, decision: ApprovalDecision): void;
  /** Its processes stand still for that reason, too; they go on when there is none left. */
  freeze(reason: StandstillReason): Promise<void>;
  thaw(reason: StandstillReason): Promise<void>;
  /** Ends it; resolves when nothing of it runs. */
  end(cause: SandboxEndCause): Promise<SandboxExit>;
  readonly exited: Promise<SandboxExit>;
};

export type StandstillReason = 'lease' | 'snapshot';

export type InitializeOptions = {
  /** Its path as the bridge sees it. */
  workspace: string;
  /** For what runs in it; the bridge itself does not get it. */
  env: Readonly<Record<string, string>>;
  /** The conversation to go on with, or to branch off. */
  resume?: { executorSessionId: string; branches: boolean };
  traceparent?: string;
  /** Answered when all that can be ready before a `claim` is. */
  parked?: boolean;
  timeoutMs: number;
};

export type SandboxOptions = {
  id: string;
  workspaceId: string;
  epoch: number;
  process: SandboxProcess;
  /** Takes the listener that the driver was handed, if it takes any. */
  onListener: (listener: object) => Promise<void>;
  logger: Logger;
};

type Running = { method: 'query' | 'exec'; turnId: string; stream: CommandStream; logChars: number };

export function createSandbox(options: SandboxOptions): Sandbox {
  const { id, workspaceId, epoch, process, logger } = options;
  const commands = new Map<string, Running>();
  /** Cancelled while nothing of that id ran. */
  const cancelled = new Set<string>();
  const held: Messages[] = [];
  let heldBytes = 0;
  let line = 0;
  let violation: string | undefined;
  let closing: NodeJS.Timeout | undefined;

  const approvals = createApprovals(query);
  const bridge: Bridge = createBridge({
    channel: process.channel,
    onMessages,
    onNotification,
    onApproval: approvals.request,
    onClose(refused) {
      if (refused) end('protocol_violation', refused.message);
      else closing = setTimeout(() => end('exited', 'the bridge closed its connection'), CLOSED_MS);
    },
  });
  // What the bridge says beside its protocol is read so that it never blocks, and kept for the error of a failed start.
  let said = '';
  process.output.on('data', (chunk: Uint8Array) => {
    said = (said + Buffer.from(chunk).toString()).slice(-MAX_SAID_CHARS);
    logger.debug({ sandboxId: id, text: said }, 'the bridge wrote');
  });
  const exited = process.exited.then((exit) => {
    const told = violation === undefined ? exit : { ...exit, detail: violation };
    clearTimeout(closing);
    bridge.close(new Error(told.detail));
    for (const running of commands.values()) running.stream.end(sandboxEnd(told));
    return told;
  });

  const reasons = new Set<StandstillReason>();
  /** undefined: some of its processes may, after a failure. */
  let standsStill: boolean | undefined = false;
  let moving: Promise<void> = Promise.resolve();

  /** One change after the other; each makes it as it is to be by then. */
  function freezeOrThaw(): Promise<void> {
    const moved = moving.then(async () => {
      const still = reasons.size > 0;
      if (standsStill === still) return;
      standsStill = undefined;
      await (still ? process.freeze() : process.thaw());
      standsStill = still;
    });
    moving = moved.catch(() => undefined);
    return moved;
  }

  function takeLines(count: number): number {
    line += count;
    return line;
  }

  process.listener?.then(options.onListener).catch((error: unknown) => {
    end(
      'protocol_violation',
      error instanceof AtollError ? error.detail : 'the sandbox handed over no listener',
    );
  });

  /** Ends it for what the bridge did. */
  function end(cause: SandboxEndCause, why: string): void {
    violation ??= why;
    process.kill(cause);
  }

  function query(): Running | undefined {
    return [...commands.values()].find((running) => running.method === 'query');
  }

  function onMessages(messages: Messages): void {
    const running = query();
    if (running) running.stream.push({ kind: 'messages', messages });
    else {
      held.push(messages);
      heldBytes += sizeOf(messages);
    }
    pace();
  }

  /** Reads on only while there is room for what comes (I9). */
  function pace(): void {
    if (query()?.stream.full || heldBytes > MAX_HELD_BYTES) bridge.pause();
    else bridge.resume();
  }

  function onNotification(method: string, params: Record<string, unknown>): void {
    if (method === 'log') {
      const running = query();
      const { text } = parse(logNotification, params);
      if (!running || running.logChars >= MAX_LOG_CHARS) return;
      running.logChars += EVENT_BYTES + text.length;
      running.stream.push({ kind: 'log', text: text.slice(0, MAX_LOG_CHARS) });
    } else if (method === 'exec.output') {
      const { execId, stream, text } = parse(outputNotification, params);
      const running = commands.get(execId);
      if (running?.method !== 'exec') return;
      running.stream.push({ kind: 'output', stream, text });
      if (running.stream.waitingBytes > MAX_UNREAD_OUTPUT_BYTES) dropExec(execId, running);
    }
    pace();
  }

  function dropExec(execId: string, running: Running): void {
    // What it still says is nobody's.
    commands.delete(execId);
    cancelExec(execId);
    running.stream.end({
      kind: 'end',
      status: 'failed',
      cause: 'output_not_read',
      detail: 'nobody took its output',
    });
  }

  function cancelExec(execId: string): void {
    bridge.call('exec.cancel', { execId }).catch(() => undefined); // its end tells
  }

  function command({ commandId, traceparent, command }: SandboxCommand): AsyncIterable<CommandEvent> {
    const { method, params } = command;
    const turnId = method === 'query' ? params.turnId : commandId;
    if (commands.has(commandId)) throw new AtollError('invalid_request', `command ${commandId} runs already`);
    if (method === 'query' && query()) throw new AtollError('illegal_transition', 'a turn runs already');
    const stream = createCommandStream(takeLines, pace);
    if (cancelled.delete(commandId)) {
      stream.end(neverBegan);
      return stream;
    }
    commands.set(commandId, { method, turnId, stream, logChars: 0 });
    if (method === 'query') for (const messages of released()) stream.push({ kind: 'messages', messages });
    pace();
    const named = method === 'exec' ? { ...params, execId: commandId } : params;
    const asked = { ...named, ...(traceparent === undefined ? {} : { traceparent }) };
    void run(commandId, method, asked, stream);
    return stream;
  }

  function takeHeld(): MessagesEvent[] {
    const taken = released().map((messages) => {
      const event = { kind: 'messages', messages } as const;
      return { ...event, line: takeLines(linesOf(event)) };
    });
    pace();
    return taken;
  }

  function released(): Messages[] {
    heldBytes = 0;
    return held.splice(0);
  }

  async function run(
    commandId: string,
    method: 'query' | 'exec',
    params: object,
    stream: CommandStream,
  ): Promise<void> {
    try {
      const reply = await bridge.call(method, params as Record<string, unknown>);
      stream.end(method === 'query' ? queryEnd(parse(queryReply, reply)) : execEnd(parse(execReply, reply)));
    } catch (error) {
      // When the sandbox ended, `exited` knows why; wait for it rather than guess.
      const gone = await Promise.race([exited, settled()]);
      if (gone) stream.end(sandboxEnd(gone));
      else stream.end(refusal(error));
    } finally {
      commands.delete(commandId);
      if (method === 'query') approvals.cancel();
      pace();
    }
  }

  /** undefined, once it is clear that the bridge still lives. */
  async function settled(): Promise<undefined> {
    if (violation !== undefined || process.channel.destroyed || process.channel.readableEnded) await exited;
    return undefined;
  }

  function cancel(commandId: string): void {
    const running = commands.get(commandId);
    if (!running) {
      cancelled.add(commandId);
      const [oldest] = cancelled;
      if (cancelled.size > MAX_CANCELLED && oldest !== undefined) cancelled.delete(oldest);
      return;
    }
    if (running.method === 'exec') {
      cancelExec(commandId);
      return;
    }
    bridge.call('interrupt', { turnId: running.turnId }).catch(() => undefined); // its end tells
    const timer = setTimeout(() => {
      if (commands.has(commandId)) process.kill('interrupt_ignored');
    }, INTERRUPT_MS);
    timer.unref();
  }

  async function initialize(
    settings: ExecutorSettings | undefined,
    { workspace, env, resume, traceparent, parked, timeoutMs }: InitializeOptions,
  ): Promise<void> {
    await within(timeoutMs, async () => {
      const executor = settings === undefined ? {} : { executor: settings };
      const params = { protocolVersion: PROTOCOL_VERSION, ...executor, workspace, env: placed(env) };
      const trace = traceparent === undefined ? {} : { traceparent };
      const waits = parked ? { parked } : {};
      parse(initializeReply, await bridge.call('initialize', { ...params, ...waits, ...trace }));
      if (isExecutorSessionId(resume?.executorSessionId)) await bridge.call('resume', resume);
    });
  }

  function placed(env: Readonly<Record<string, string>>): Record<string, string> {
    const { realPath = (value: string) => value } = process;
    return Object.fromEntries(Object.entries(env).map(([name, value]) => [name, realPath(value)]));
  }

  /** Ends the sandbox when its bridge does not come up, or not in time. */
  async function within(timeoutMs: number, steps: () => Promise<void>): Promise<void> {
    const late = `the bridge did not answer within ${timeoutMs / 1000} s`;
    const timer = setTimeout(() => end('protocol_violation', late), timeoutMs);
    try {
      await steps();
    } catch (error) {
      process.kill('exited');
      const exit = await exited;
      throw new AtollError('executor_failed', `the bridge did not come up: ${reasonOf(error, exit, said)}`, {
        cause: error,
      });
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    id,
    workspaceId,
    epoch,
    pid: process.pid,
    initialize,
    claim: (settings, { env, traceparent, timeoutMs }) =>
      within(timeoutMs, async () => {
        const trace = traceparent === undefined ? {} : { traceparent };
        await bridge.call('claim', { executor: settings, env: placed(env), ...trace });
      }),
    command,
    takeHeld,
    cancel,
    decide: approvals.decide,
    freeze(reason) {
      reasons.add(reason);
      return freezeOrThaw();
    },
    thaw(reason) {
      reasons.delete(reason);
      return freezeOrThaw();
    },
    end(cause) {
      process.kill(cause);
      return exited;
    },
    exited,
  };
}

const neverBegan: CommandEnd = {
  kind: 'end',
  status: 'interrupted',
  cause: 'interrupted',
  detail: 'It was cancelled before it began.',
};

function reasonOf(error: unknown, exit: SandboxExit, said: string): string {
  const known = error instanceof AtollError ? error.detail : exit.detail;
  const lines = said.trim();
  return lines === '' ? known : `${known}\n${lines}`;
}

function queryEnd(reply: v.InferOutput<typeof queryReply>): CommandEnd {
  const { status, cause, detail, executorSessionId, usage } = reply;
  return {
    kind: 'end',
    status,
    ...(cause === undefined ? {} : { cause }),
    ...(detail === undefined ? {} : { detail }),
    ...(executorSessionId === undefined ? {} : { executorSessionId }),
    ...(usage === undefined ? {} : { usage }),
  };
}

function execEnd({ exitCode, timedOut, signal }: v.InferOutput<typeof execReply>): CommandEnd {
  const detail = signal ? { cause: 'signal', detail: `ended by ${signal}` } : {};
  return {
    kind: 'end',
    status: 'completed',
    exitCode,
    timedOut,
    ...(timedOut ? { cause: 'timed_out' } : detail),
  };
}

function sandboxEnd({ cause, detail }: SandboxExit): CommandEnd {
  return { kind: 'end', status: 'failed', cause, detail, sandboxEnded: true };
}

function refusal(error: unknown): CommandEnd {
  const detail = error instanceof Error ? error.message.slice(0, 2000) : 'the bridge refused the command';
  return { kind: 'end', status: 'failed', cause: 'executor_failed', detail };
}
