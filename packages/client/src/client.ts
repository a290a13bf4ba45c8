import type { Operation } from '@atoll/protocol/operation';
import {
  type OperationInput,
  type OperationName,
  type OperationResult,
  operations,
} from '@atoll/protocol/operations';
import { unreachable } from './errors.ts';
import { type ExecParams, execEvents } from './exec.ts';
import { checkResult } from './result.ts';
import type { ExecEvent, StreamEvent } from './stream-event.ts';
import { type SendParams, sessionEvents, turnEvents } from './streams.ts';
import { systemTimers, type Timers } from './timers.ts';
import { createTransport, type FileContent, type TransportOptions } from './transport.ts';

export type { SendParams } from './streams.ts';

export type ClientOptions = TransportOptions & { timers?: Timers };

/** Operations with an answer in JSON (or text): all but those whose answer or body is bytes. */
export type CallName = Exclude<
  OperationName,
  'session.files.read' | 'session.files.write' | 'sandbox.files.read' | 'sandbox.files.write'
>;

export type CallOptions = { signal?: AbortSignal | undefined };
export type FollowOptions = CallOptions & {
  /** Consecutive failed connections after which it gives up. Default: never. */
  maxAttempts?: number | undefined;
};

/**
 * Every method throws AtollError with the server's code, or Unreachable when no Atoll server answers. Streams
 * reconnect by themselves and end when their signal aborts; calls are sent once and throw the signal's reason.
 */
export type Client = {
  readonly url: string;
  /** One operation of the table, with its JSON answer (stream operations have one too). */
  call<N extends CallName>(
    name: N,
    params: OperationInput<N>,
    options?: CallOptions,
  ): Promise<OperationResult<N>>;
  /**
   * Sends a message and streams its turn to its `done`, across cut connections: nothing lost, nothing twice. Leaving
   * the stream does not stop the turn; `session.interrupt` does.
   */
  send(sessionId: string, message: SendParams, options?: FollowOptions): AsyncIterable<StreamEvent>;
  /** A session's log after `after` (default: all of it), then live, until the session ended or failed. */
  events(sessionId: string, options?: FollowOptions & { after?: number }): AsyncIterable<StreamEvent>;
  /** Runs a shell command in the sandbox. Its output is not in the log, so a cut connection throws Unreachable. */
  exec(sessionId: string, params: ExecParams, options?: CallOptions): AsyncIterable<ExecEvent>;
  /** A workspace file as it is read. */
  readFile(sessionId: string, path: string, options?: CallOptions): Promise<ReadableStream<Uint8Array>>;
  /** Writes a workspace file; an iterable is streamed (in browsers: where fetch can). */
  writeFile(
    sessionId: string,
    path: string,
    content: FileContent,
    options?: CallOptions,
  ): Promise<OperationResult<'session.files.write'>>;
  /** As `exec`, `readFile` and `writeFile`, of a bare sandbox. */
  readonly sandboxes: Sandboxes;
};

export type Sandboxes = {
  exec(sandboxId: string, params: ExecParams, options?: CallOptions): AsyncIterable<ExecEvent>;
  readFile(sandboxId: string, path: string, options?: CallOptions): Promise<ReadableStream<Uint8Array>>;
  writeFile(
    sandboxId: string,
    path: string,
    content: FileContent,
    options?: CallOptions,
  ): Promise<OperationResult<'sandbox.files.write'>>;
};

export function createClient(options: ClientOptions): Client {
  const transport = createTransport(options);
  const context = { transport, timers: options.timers ?? systemTimers };

  async function readFile(
    name: 'session.files.read' | 'sandbox.files.read',
    where: Record<string, string>,
    signal: AbortSignal | undefined,
  ): Promise<ReadableStream<Uint8Array>> {
    const request = { accept: 'application/octet-stream', signal };
    const response = await transport.send(operations[name], where, request);
    return response.body ?? new Blob([]).stream();
  }

  async function writeFile<N extends 'session.files.write' | 'sandbox.files.write'>(
    name: N,
    where: Record<string, string>,
    content: FileContent,
    signal: AbortSignal | undefined,
  ): Promise<OperationResult<N>> {
    const request = { accept: 'application/json', signal, bytes: content };
    const response = await transport.send(operations[name], where, request);
    return await answer(name, response, transport.url, signal);
  }

  return {
    url: transport.url,
    async call(name, params, { signal } = {}) {
      const op: Operation = operations[name];
      const accept = op.kind === 'text' ? 'text/plain' : 'application/json';
      const response = await transport.send(op, params, { accept, signal });
      return await answer(name, response, transport.url, signal);
    },
    send: (sessionId, message, follow = {}) => turnEvents(context, sessionId, message, follow),
    events: (sessionId, follow = {}) => sessionEvents(context, sessionId, follow),
    exec: (sessionId, params, { signal } = {}) =>
      execEvents(context, 'session.exec', { ...params, sessionId }, signal),
    readFile: (sessionId, path, { signal } = {}) =>
      readFile('session.files.read', { sessionId, path }, signal),
    writeFile: (sessionId, path, content, { signal } = {}) =>
      writeFile('session.files.write', { sessionId, path }, content, signal),
    sandboxes: {
      exec: (sandboxId, params, { signal } = {}) =>
        execEvents(context, 'sandbox.exec', { ...params, sandboxId }, signal),
      readFile: (sandboxId, path, { signal } = {}) =>
        readFile('sandbox.files.read', { sandboxId, path }, signal),
      writeFile: (sandboxId, path, content, { signal } = {}) =>
        writeFile('sandbox.files.write', { sandboxId, path }, content, signal),
    },
  };
}

/** The body of a successful answer, checked against the operation's own schema. */
async function answer<N extends OperationName>(
  name: N,
  response: Response,
  url: string,
  signal: AbortSignal | undefined,
): Promise<OperationResult<N>> {
  const op: Operation = operations[name];
  const body: unknown = await (op.kind === 'text' ? response.text() : response.json()).catch(
    (error: unknown) => {
      signal?.throwIfAborted();
      throw unreachable(url, error);
    },
  );
  return checkResult(name, op.result, body) as OperationResult<N>;
}
