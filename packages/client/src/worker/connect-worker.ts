/**
 * The host's side of `atoll worker` (docs/worker.md), for Node: one worker, started again when it died.
 *
 * Stages: open → up (calls go out) → the worker died: what was under way rejects → a pause that grows → open → … → closed.
 * Calls made in between wait for the next worker. Iterations over events go on by themselves after the last one they saw.
 */
import type { Operation } from '@atoll/protocol/operation';
import { type OperationInput, type OperationResult, operations } from '@atoll/protocol/operations';
import { rejectedBy } from '@atoll/protocol/rejected-by';
import {
  type Hello,
  type WorkerInput,
  type WorkerMethod,
  type WorkerMethodName,
  type WorkerResult,
  workerMethods,
} from '@atoll/protocol/worker-methods';
import type { CallName as OperationCallName } from '../client.ts';
import { checkResult } from '../result.ts';
import type { StreamEvent } from '../stream-event.ts';
import { backoffMs, pause, systemTimers, type Timers } from '../timers.ts';
import { WorkerGone } from './errors.ts';
import { createFeeds } from './feeds.ts';
import { readFile, writeFile } from './files.ts';
import { type CallOptions, type Link, openLink, untilDeadline } from './link.ts';
import type { WireOptions } from './wire.ts';

export { eventData, type StreamEvent } from '../stream-event.ts';
export { WorkerGone } from './errors.ts';
export type { CallOptions } from './link.ts';

export type WorkerOptions = WireOptions & {
  /** Speak the line commands of before with a worker that does not say `ready`: `ping` and `state_at` alone. Gone in 2.0. */
  legacyFallback?: boolean | undefined;
  timers?: Timers | undefined;
};

export type CallName = OperationCallName | Exclude<WorkerMethodName, OwnNames>;
/** What has methods of its own here. */
type OwnNames =
  | 'initialize'
  | 'session.subscribe'
  | 'session.unsubscribe'
  | `session.files.${'read' | 'write'}`;
type Input<N extends CallName> = N extends WorkerMethodName
  ? WorkerInput<N>
  : N extends OperationCallName
    ? OperationInput<N>
    : never;
type Result<N extends CallName> = N extends WorkerMethodName
  ? WorkerResult<N>
  : N extends OperationCallName
    ? OperationResult<N>
    : never;

/** Every method throws AtollError or RpcError as the worker said, WorkerGone when it died meanwhile, or the signal's reason. */
export type WorkerClient = {
  /** What the worker that is there said of itself; undefined while there is none, and of one from before JSON-RPC. */
  readonly hello: Hello | undefined;
  call<N extends CallName>(name: N, params: Input<N>, options?: CallOptions): Promise<Result<N>>;
  ping(options?: CallOptions): Promise<'pong'>;
  /**
   * A session's log after `after` (default: all of it), then live, until the session is over or the signal aborts. Each event
   * once, in order, whatever happens to the worker. What is not read is not fetched.
   */
  events(
    sessionId: string,
    options?: { after?: number | undefined; signal?: AbortSignal | undefined },
  ): AsyncIterable<StreamEvent>;
  /** A workspace file, in pieces that are fetched as they are read. */
  readFile(sessionId: string, path: string): AsyncIterable<Uint8Array>;
  /** The file is there, whole, once it resolves. One file of a session is written by one call at a time. */
  writeFile(
    sessionId: string,
    path: string,
    content: string | Uint8Array | AsyncIterable<Uint8Array>,
  ): Promise<WorkerResult<'session.files.write'>>;
  /** Ends the worker, or the connection to one that is not ours; resolves when nothing of it is left. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

const RETRY_MS = 250;
/** A worker that lived this long did not die of its start. */
const STEADY_MS = 30_000;

/** Resolves when the worker is ready; rejects when the first one cannot be started or reached. */
export async function connectWorker(options: WorkerOptions = {}): Promise<WorkerClient> {
  const timers = options.timers ?? systemTimers;
  const feeds = createFeeds();
  const closing = new AbortController();
  const { onEvent, onUnsubscribed } = feeds;
  const open = () => openLink({ ...options, onEvent, onUnsubscribed });
  let link: Link | undefined = await open();
  let next = Promise.withResolvers<Link>();
  next.promise.catch(() => undefined);
  const settled = keepUp(link);

  /** Until closed: one worker after another. */
  async function keepUp(first: Link): Promise<void> {
    let failures = 0;
    for (let current: Link | undefined = first; !closing.signal.aborted; current = await again()) {
      if (current) {
        const since = performance.now();
        up(current);
        await current.ended;
        down();
        if (performance.now() - since >= STEADY_MS) failures = 0;
      }
      failures++;
      await pause(backoffMs(failures, RETRY_MS, timers.random()), timers, closing.signal);
    }
  }

  async function again(): Promise<Link | undefined> {
    if (closing.signal.aborted) return undefined;
    const opened = await open().catch(() => undefined);
    if (!closing.signal.aborted) return opened;
    await opened?.close();
    return undefined;
  }

  function up(to: Link): void {
    link = to;
    next.resolve(to);
    feeds.setLink(to);
  }

  function down(): void {
    link = undefined;
    next = Promise.withResolvers<Link>();
    // Nobody may wait for it when it is closed.
    next.promise.catch(() => undefined);
    feeds.setLink(undefined);
  }

  /** The worker that is there, or the next one. */
  async function linkFor(signal: AbortSignal): Promise<Link> {
    signal.throwIfAborted();
    closing.signal.throwIfAborted();
    return link ?? Promise.race([next.promise, rejectedBy(signal)]);
  }

  async function ask(method: string, params: object, given: CallOptions): Promise<unknown> {
    const { signal, done } = untilDeadline(given);
    try {
      const on = await linkFor(signal);
      return await on.call({ method, params: { ...params }, deadlineMs: given.deadlineMs }, signal);
    } finally {
      done();
    }
  }

  async function own<N extends WorkerMethodName>(name: N, params: WorkerInput<N>): Promise<WorkerResult<N>> {
    const schema: WorkerMethod['result'] = workerMethods[name].result;
    return checkResult(name, schema, await ask(name, params, {})) as WorkerResult<N>;
  }

  async function close(): Promise<void> {
    const reason = new WorkerGone('the worker was closed');
    closing.abort(reason);
    feeds.close(reason);
    next.reject(reason);
    await link?.close();
    await settled;
  }

  return {
    get hello() {
      return link?.hello;
    },
    async call(name, params, given = {}) {
      const { result } = declared(name);
      return checkResult(name, result, await ask(name, params, given)) as Result<typeof name>;
    },
    ping: async (given = {}) => checkResult('ping', workerMethods.ping.result, await ask('ping', {}, given)),
    events(sessionId, { after = 0, signal } = {}) {
      closing.signal.throwIfAborted();
      return feeds.read(sessionId, after, signal);
    },
    readFile: (sessionId, path) => readFile(own, sessionId, path),
    writeFile: (sessionId, path, content) => writeFile(own, sessionId, path, content),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function declared(name: CallName): Pick<Operation, 'result'> {
  const tables: Readonly<Record<string, Pick<Operation, 'result'>>> = { ...operations, ...workerMethods };
  const found = Object.hasOwn(tables, name) ? tables[name] : undefined;
  if (!found) throw new TypeError(`${name} is no operation`);
  return found;
}
