/**
 * A JSON-RPC 2.0 peer (https://www.jsonrpc.org/specification) over any channel that carries whole messages. Both
 * sides call and answer. The transport stays outside: it gives `receive` each parsed message, and `send` takes
 * each message as text without a line end.
 */
import { AtollError, isErrorCode } from './errors.ts';

export type Channel = {
  /** Sends one message. The promise settles when the channel can take more (backpressure). */
  send(text: string): Promise<void>;
};

export type Handler = (params: Record<string, unknown>, context: { signal: AbortSignal }) => Promise<unknown>;

export type PeerOptions = {
  channel: Channel;
  /** Requests this side answers, by method. */
  handlers: Readonly<Record<string, Handler>>;
  /** Notifications; unknown ones are the callee's to ignore. */
  onNotification?: (method: string, params: Record<string, unknown>) => void;
};

export type Peer = {
  /** Rejects with AtollError or RpcError from the other side, or with the close reason. */
  call(method: string, params: Record<string, unknown>): Promise<unknown>;
  notify(method: string, params: Record<string, unknown>): Promise<void>;
  /** Hands in one parsed message. Throws RpcError when it is not JSON-RPC at all. */
  receive(message: unknown): void;
  /** Ends the peer: pending calls reject with `reason`, running handlers are aborted. */
  close(reason: Error): void;
};

export const rpcCodes = {
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
  /** Atoll's own codes travel under this one, in `data: {code, detail}`. */
  atoll: -32000,
} as const;

export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: number;
  readonly data: unknown;

  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

const MAX_ID_CHARS = 64;

type Pending = { resolve: (result: unknown) => void; reject: (reason: Error) => void };

export function createPeer({ channel, handlers, onNotification }: PeerOptions): Peer {
  const pending = new Map<number, Pending>();
  const aborting = new AbortController();
  let nextId = 1;
  let closed: Error | undefined;

  const send = (message: Record<string, unknown>) =>
    channel.send(JSON.stringify({ jsonrpc: '2.0', ...message }));

  async function answer(id: string | number, method: string, params: Record<string, unknown>): Promise<void> {
    const reply = await runHandler(handlers, method, params, aborting.signal);
    if (closed) return;
    // A reply that cannot be sent means the channel is gone; whoever owns the channel closes the peer.
    await send({ id, ...reply }).catch(() => undefined);
  }

  function settle(id: unknown, message: Record<string, unknown>): void {
    const call = typeof id === 'number' ? pending.get(id) : undefined;
    // An answer to nothing we asked: late after close, or hostile. Either way nobody waits for it.
    if (!call || typeof id !== 'number') return;
    pending.delete(id);
    if (message.error !== undefined) call.reject(fromRpcError(message.error));
    else call.resolve(message.result);
  }

  return {
    call(method, params) {
      if (closed) return Promise.reject(closed);
      const id = nextId++;
      return new Promise((resolve, reject) => {
        pending.set(id, { resolve, reject });
        send({ id, method, params }).catch((error: Error) => {
          if (pending.delete(id)) reject(error);
        });
      });
    },
    notify: (method, params) => (closed ? Promise.reject(closed) : send({ method, params })),
    receive(message) {
      if (!isRecord(message) || message.jsonrpc !== '2.0')
        throw new RpcError(rpcCodes.invalidRequest, 'not a JSON-RPC 2.0 message');
      const { id, method } = message;
      if (typeof method !== 'string') {
        settle(id, message);
        return;
      }
      const params = message.params ?? {};
      if (!isRecord(params)) throw new RpcError(rpcCodes.invalidParams, 'params must be an object');
      if (id === undefined) onNotification?.(method, params);
      else if (isId(id)) void answer(id, method, params);
      else
        throw new RpcError(
          rpcCodes.invalidRequest,
          `id must be a string of at most ${MAX_ID_CHARS} characters or a whole number`,
        );
    },
    close(reason) {
      if (closed) return;
      closed = reason;
      aborting.abort(reason);
      for (const call of pending.values()) call.reject(reason);
      pending.clear();
    },
  };
}

async function runHandler(
  handlers: Readonly<Record<string, Handler>>,
  method: string,
  params: Record<string, unknown>,
  signal: AbortSignal,
): Promise<{ result: unknown } | { error: unknown }> {
  const handler = Object.hasOwn(handlers, method) ? handlers[method] : undefined;
  if (!handler)
    return { error: { code: rpcCodes.methodNotFound, message: `no method ${method.slice(0, 100)}` } };
  try {
    return { result: (await handler(params, { signal })) ?? {} };
  } catch (error) {
    return { error: toRpcError(error) };
  }
}

/** An error as it travels. */
export function toRpcError(error: unknown): { code: number; message: string; data?: unknown } {
  if (error instanceof AtollError)
    return { code: rpcCodes.atoll, message: error.detail, data: { code: error.code, detail: error.detail } };
  if (error instanceof RpcError) return { code: error.code, message: error.message, data: error.data };
  return { code: rpcCodes.internal, message: error instanceof Error ? error.message : 'internal error' };
}

/** The error that came: AtollError where it is one of ours, else RpcError. */
export function fromRpcError(error: unknown): Error {
  if (!isRecord(error)) return new RpcError(rpcCodes.internal, 'malformed error');
  const message = typeof error.message === 'string' ? error.message : 'error without a message';
  const data = error.data;
  if (
    error.code === rpcCodes.atoll &&
    isRecord(data) &&
    typeof data.code === 'string' &&
    isErrorCode(data.code)
  )
    return new AtollError(data.code, typeof data.detail === 'string' ? data.detail : message);
  return new RpcError(typeof error.code === 'number' ? error.code : rpcCodes.internal, message, data);
}

function isId(id: unknown): id is string | number {
  return typeof id === 'string' ? id.length <= MAX_ID_CHARS : Number.isInteger(id);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
