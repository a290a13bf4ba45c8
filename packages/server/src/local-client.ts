/** The operations without any wire, for whoever shares the server's process. What it gives is what a client far away gets. */
import type { Operation } from '@atoll/protocol/operation';
import {
  type OperationInput,
  type OperationName,
  type OperationParams,
  type OperationResult,
  operations,
} from '@atoll/protocol/operations';
import { parse } from '@atoll/protocol/parse';
import { createSseParser } from '@atoll/protocol/sse';
import { childTraceparent } from '@atoll/protocol/trace';
import { access } from './keys/access.ts';
import type { Context, Handlers } from './routes/handler.ts';
import { answerOf } from './rpc/methods.ts';

/** `seq` is absent on `ready`, which is of the stream and not of the log. */
export type LocalEvent = { seq: number | undefined; event: string; text: string };

type CallName = Exclude<OperationName, 'session.files.read' | 'session.files.write'>;
type Options = { signal?: AbortSignal | undefined };

/** Throws AtollError, or the signal's reason. Streams end when their signal aborts. */
export type LocalClient = {
  call<N extends CallName>(
    name: N,
    params: OperationInput<N>,
    options?: Options,
  ): Promise<OperationResult<N>>;
  /** A message, and its turn to its `done`. Leaving the stream does not stop the turn. */
  send(
    sessionId: string,
    message: Omit<OperationInput<'session.send'>, 'sessionId'>,
    options?: Options,
  ): AsyncIterable<LocalEvent>;
  /** A session's log after `after`, then live, until the session is over. */
  events(sessionId: string, options?: Options & { after?: number }): AsyncIterable<LocalEvent>;
};

type Streaming = 'session.send' | 'session.events';

export function createLocalClient(api: () => Promise<Handlers>): LocalClient {
  async function* stream(
    name: Streaming,
    given: OperationInput<Streaming>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<LocalEvent> {
    const handlers = await api();
    const left = new AbortController();
    const until = signal === undefined ? left.signal : AbortSignal.any([signal, left.signal]);
    // Each name has the params of its own handler.
    const open = handlers[name].stream as (
      params: OperationParams<Streaming>,
      context: Context,
    ) => Promise<AsyncIterable<Uint8Array>>;
    const parser = createSseParser();
    try {
      const frames = await open(parse(operations[name].params, given), contextFor(until));
      for await (const chunk of frames)
        for (const { event, data, hasId, lastEventId } of parser.push(chunk)) {
          if (signal?.aborted) return;
          yield { seq: hasId ? Number(lastEventId) : undefined, event, text: data };
        }
    } catch (error) {
      if (!signal?.aborted) throw error;
    } finally {
      left.abort();
    }
  }

  return {
    async call(name, params, { signal = new AbortController().signal } = {}) {
      const operation: Operation = operations[name];
      const answer = answerOf(await api(), name);
      signal.throwIfAborted();
      const result = await answer(parse(operation.params, params), contextFor(signal));
      return result as OperationResult<typeof name>;
    },
    send: (sessionId, message, { signal } = {}) => stream('session.send', { ...message, sessionId }, signal),
    events: (sessionId, { after, signal } = {}) =>
      stream('session.events', { sessionId, ...(after === undefined ? {} : { after }) }, signal),
  };
}

/** The whole computer is this one user's. */
function contextFor(signal: AbortSignal): Context {
  return { access: access('default', 'admin'), signal, traceparent: childTraceparent(undefined) };
}
