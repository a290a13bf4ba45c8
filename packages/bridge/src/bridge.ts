/**
 * The bridge: what the runner can ask, and who does it. `main.ts` gives it the socket; the stages are
 * initialize → (resume) → queries, execs beside them → shutdown.
 */
import type { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { Handler } from '@atoll/protocol/json-rpc';
import { PROTOCOL_VERSION } from '@atoll/protocol/wire';
import { createApprove } from './approvals.ts';
import { createBoundedLog } from './bounded-log.ts';
import type { Children } from './children.ts';
import type { BridgeConfig } from './config.ts';
import { openConnection } from './connection.ts';
import type { Execs } from './exec.ts';
import type { Executor } from './executor.ts';
import { createExecutor } from './executors.ts';
import {
  execParams,
  type InitializeParams,
  initializeParams,
  queryParams,
  resumeParams,
  string,
} from './params.ts';
import { type Timers, within } from './timers.ts';
import { createTurns, type Turns } from './turns.ts';

/** For an executor to end by itself at `shutdown`. */
const SHUTDOWN_GRACE_MS = 4_000;

export type BridgeOptions = {
  socket: Socket;
  config: BridgeConfig;
  children: Children;
  timers: Timers;
  /** Ends this process and with it its children. */
  exit: (code: number) => void;
};

type Initialized = { executor: Executor; turns: Turns; execs: () => Promise<Execs> };

export function startBridge({ socket, config, children, timers, exit }: BridgeOptions): void {
  let initialized: Promise<Initialized> | undefined;
  const ready = () => {
    if (initialized) return initialized;
    throw new AtollError('illegal_transition', 'initialize comes first');
  };

  const log = createBoundedLog((text) => void notify('log', { text }));
  const handlers: Record<string, Handler> = {
    async initialize(params) {
      if (initialized) throw new AtollError('illegal_transition', 'the bridge is initialized already');
      const checked = initializeParams(params);
      // Gateway and executor are opened, loaded and warmed while the runner has its answer already.
      initialized = answerSent().then(() => load(checked));
      // A failure is told to the requests that need what failed.
      initialized.catch(() => undefined);
      return { protocolVersion: PROTOCOL_VERSION };
    },
    async resume(params) {
      const { executorSessionId, branches } = resumeParams(params);
      (await ready()).turns.resume(executorSessionId, { branches });
    },
    async query(params) {
      const turn = queryParams(params);
      log.reset();
      return (await ready()).turns.query(turn);
    },
    async interrupt(params) {
      (await ready()).turns.interrupt(string(params, 'turnId'));
    },
    async exec(params) {
      return (await (await ready()).execs()).run(execParams(params));
    },
    'exec.cancel': async (params) => {
      (await (await ready()).execs()).cancel(string(params, 'execId'));
    },
    async shutdown() {
      const stopped = initialized?.then(({ executor }) => executor.stop());
      if (stopped) await within(timers, SHUTDOWN_GRACE_MS, stopped);
      // After the answer was written.
      void setImmediate()
        .then(() => connection.finish())
        .then(() => exit(0));
    },
  };
  const connection = openConnection({ socket, handlers, onEnd: () => exit(0) });
  // When the connection is gone there is nobody to notify, and the process ends.
  const notify = (method: string, params: Record<string, unknown>) =>
    connection.peer.notify(method, params).catch(() => undefined);

  async function load(params: InitializeParams): Promise<Initialized> {
    const { env, gateway } = config;
    if (gateway) await openGateway(gateway);
    const output = { messages: connection.write, log: log.write };
    const shared = { workspace: params.workspace, env, children, timers };
    const approve = createApprove({
      ask: (request) => connection.peer.call('approval.request', request),
      turnId: () => turns.turnId,
    });
    const executor = await createExecutor({ ...shared, settings: params.executor, output, approve });
    const turns = createTurns(executor, timers);
    executor.warm();
    const onOutput = (execId: string, stream: string, text: string) =>
      notify('exec.output', { execId, stream, text });
    let execs: Promise<Execs> | undefined;
    return {
      executor,
      turns,
      execs: () => {
        execs ??= import('./exec.ts').then(({ createExecs }) => createExecs({ ...shared, onOutput }));
        return execs;
      },
    };
  }
}

/** What is written in one turn of the event loop leaves at its end: what the next one does, it does not hold up. */
async function answerSent(): Promise<void> {
  await setImmediate();
  await setImmediate();
}

async function openGateway(gateway: NonNullable<BridgeConfig['gateway']>): Promise<void> {
  const { forwardPort } = await import('./port-forward.ts');
  try {
    await forwardPort(gateway);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new AtollError('sandbox_failed', `the gateway's port cannot be opened: ${detail}`, {
      cause: error,
    });
  }
}
