/**
 * The bridge: what the runner can ask, and who does it. `main.ts` gives it the socket; the stages are
 * initialize → (parked → claim) → (resume) → queries, execs beside them → shutdown.
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
import type { Executor, ExecutorContext, MakeExecutor } from './executor.ts';
import { createExecutor, noExecutor, prepareExecutor } from './executors.ts';
import {
  claimParams,
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
/** Others may be claimed at the same time, and need the machine sooner. A query does not wait for this. */
const WARM_AFTER_CLAIM_MS = 300;

export type BridgeOptions = {
  socket: Socket;
  config: BridgeConfig;
  children: Children;
  timers: Timers;
  /** Ends this process and with it its children. */
  exit: (code: number) => void;
};

/** Before a `claim`: what it will go on with. */
type Parked = { workspace: string; env: ExecutorContext['env']; prepared: Promise<MakeExecutor> };
type ParkParams = Extract<InitializeParams, { executor: object }>;
type Context = Omit<ExecutorContext, 'settings'>;
type Initialized = { executor: Executor; turns: Turns; execs: () => Promise<Execs> };

export function startBridge({ socket, config, children, timers, exit }: BridgeOptions): void {
  let initialized: Promise<Initialized> | undefined;
  let parked: Parked | undefined;
  let served: Turns | undefined;
  const ready = () => {
    if (initialized) return initialized;
    throw new AtollError('illegal_transition', 'initialize comes first');
  };

  const log = createBoundedLog((text) => void notify('log', { text }));
  const handlers: Record<string, Handler> = {
    async initialize(params) {
      if (initialized ?? parked)
        throw new AtollError('illegal_transition', 'the bridge is initialized already');
      const checked = initializeParams(params);
      if (checked.parked) await park(checked);
      else begin(() => load(checked));
      return { protocolVersion: PROTOCOL_VERSION };
    },
    async claim(params) {
      if (!parked) throw new AtollError('illegal_transition', 'this bridge is not parked');
      const { executor: settings, env } = claimParams(params);
      const { workspace, env: before, prepared } = parked;
      parked = undefined;
      const context = contextOf(workspace, { ...before, ...env });
      begin(async () => {
        const claimed = serve(context, (await prepared)({ ...context, settings }));
        timers.after(WARM_AFTER_CLAIM_MS, () => claimed.executor.warm());
        return claimed;
      });
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

  /** Gateway and executor are opened, loaded and warmed while the runner has its answer already. */
  function begin(how: () => Promise<Initialized>): void {
    initialized = answerSent().then(how);
    // A failure is told to the requests that need what failed.
    initialized.catch(() => undefined);
  }

  /** Here the answer waits: whoever parks a bridge is in no hurry, and gives it to somebody who is. */
  async function park({ executor: settings, workspace, env: own }: ParkParams): Promise<void> {
    const prepared = Promise.withResolvers<MakeExecutor>();
    const env = { ...config.env, ...own };
    parked = { workspace, env, prepared: prepared.promise };
    if (config.gateway) await openGateway(config.gateway);
    prepared.resolve(prepareExecutor({ ...contextOf(workspace, env), settings }));
    await prepared.promise;
  }

  async function load({ executor: settings, workspace, env }: InitializeParams): Promise<Initialized> {
    if (config.gateway) await openGateway(config.gateway);
    const context = contextOf(workspace, { ...config.env, ...env });
    const executor = settings ? await createExecutor({ ...context, settings }) : noExecutor;
    const loaded = serve(context, executor);
    loaded.executor.warm();
    return loaded;
  }

  function contextOf(workspace: string, env: Context['env']): Context {
    const output = { messages: connection.write, log: log.write };
    const approve = createApprove({
      ask: (request) => connection.peer.call('approval.request', request),
      turnId: () => served?.turnId,
    });
    return { workspace, env, children, timers, output, approve };
  }

  function serve(context: Context, executor: Executor): Initialized {
    const turns = createTurns(executor, timers);
    served = turns;
    const onOutput = (execId: string, stream: string, text: string) =>
      notify('exec.output', { execId, stream, text });
    let execs: Promise<Execs> | undefined;
    return {
      executor,
      turns,
      execs: () => {
        execs ??= import('./exec.ts').then(({ createExecs }) => createExecs({ ...context, onOutput }));
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
  const { forwardPort, handPort } = await import('./port-forward.ts');
  try {
    await (process.channel ? handPort(gateway.port) : forwardPort(gateway));
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new AtollError('sandbox_failed', `the gateway's port cannot be opened: ${detail}`, {
      cause: error,
    });
  }
}
