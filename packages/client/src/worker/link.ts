/**
 * One incarnation of the worker: its calls by id, and what it tells by itself. Stages: wire open → `ready` (or, for a worker
 * of before JSON-RPC, `pong`) → the launch token told → calls → ended, and every call under way rejects with the reason.
 */
import { AtollError } from '@atoll/protocol/errors';
import { fromRpcError, RpcError, rpcCodes } from '@atoll/protocol/json-rpc';
import { type Hello, hello as helloSchema } from '@atoll/protocol/worker-methods';
import * as v from 'valibot';
import { parseJson } from '../errors.ts';
import type { StreamEvent } from '../stream-event.ts';
import { WorkerGone } from './errors.ts';
import { type EventLine, readEvent, readEventLine } from './event-line.ts';
import { openWire, type Wire, type WireOptions } from './wire.ts';

export type CallOptions = {
  signal?: AbortSignal | undefined;
  /** Rejects with `timed_out` after so long, and the worker gives it up. */
  deadlineMs?: number | undefined;
};

export type Sent = {
  method: string;
  params: Readonly<Record<string, unknown>>;
  deadlineMs?: number | undefined;
};

export type Link = {
  /** undefined for a worker of before JSON-RPC. */
  readonly hello: Hello | undefined;
  /** `onAnswer` runs before anything that the worker says after its answer is looked at. */
  call(sent: Sent, signal?: AbortSignal, onAnswer?: () => void): Promise<unknown>;
  close(): Promise<void>;
  readonly ended: Promise<WorkerGone>;
};

export type LinkOptions = WireOptions & {
  /** Speak the line commands of before with a worker that does not say `ready`. */
  legacyFallback?: boolean | undefined;
  onEvent: (sessionId: string, event: StreamEvent) => void;
  /** A subscription ended by itself. */
  onUnsubscribed: (sessionId: string, error: Error | undefined) => void;
};

const READY_MS = 30_000;
/** How long a worker that may be one of before is waited for, at each of its two chances. */
const FALLBACK_MS = 2000;

/** Rejects with WorkerGone, or with what the worker said to the launch token. */
export async function openLink(options: LinkOptions): Promise<Link> {
  const pending = new Map<number, Pending>();
  /** Of a worker of before: they are answered in order. */
  const unnamed: Pending[] = [];
  let onReady: (hello: Hello | undefined) => void = () => undefined;
  const ready = new Promise<Hello | undefined>((resolve) => {
    onReady = resolve;
  });
  let legacy = false;
  let nextId = 1;
  const wire = openWire(options, onLine);
  const ended = wire.ended.then((reason) => {
    for (const call of [...pending.values(), ...unnamed]) call.reject(reason);
    pending.clear();
    unnamed.length = 0;
    return reason;
  });

  function onLine(line: string): void {
    const event = readEventLine(line);
    if (event) return told(event);
    if (legacy || line === 'pong') return onLegacyLine(line);
    const message = parseJson(line);
    if (!isRecord(message) || message.jsonrpc !== '2.0') return;
    if (typeof message.method === 'string') onNotification(message.method, message.params);
    else if (typeof message.id === 'number') settle(message.id, message);
  }

  function told({ sessionId, ...event }: EventLine): void {
    options.onEvent(sessionId, event);
  }

  function onNotification(method: string, params: unknown): void {
    if (method === 'ready') onReady(v.parse(helloSchema, params));
    if (method === 'session.event') told(readEvent(params));
    if (method === 'session.unsubscribed' && isRecord(params))
      options.onUnsubscribed(
        String(params.sessionId),
        params.error === undefined ? undefined : fromRpcError(params.error),
      );
  }

  function settle(id: number, message: Record<string, unknown>): void {
    const call = pending.get(id);
    pending.delete(id);
    if (message.error !== undefined) call?.reject(fromRpcError(message.error));
    else call?.resolve(message.result);
  }

  function onLegacyLine(text: string): void {
    legacy = true;
    onReady(undefined);
    const call = unnamed.shift();
    const answer = text === 'pong' ? text : parseJson(text);
    if (isRecord(answer) && answer.error !== undefined)
      call?.reject(new RpcError(rpcCodes.internal, String(answer.error)));
    else call?.resolve(answer);
  }

  function call(sent: Sent, signal?: AbortSignal, onAnswer?: () => void): Promise<unknown> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (legacy) return callUnnamed(sent);
    const id = nextId++;
    return new Promise((resolve, reject) => {
      const abort = () => {
        pending.delete(id);
        say({ method: '$/cancelRequest', params: { id } });
        reject(signal?.reason);
      };
      const settled = () => signal?.removeEventListener('abort', abort);
      pending.set(id, {
        resolve(result) {
          settled();
          onAnswer?.();
          resolve(result);
        },
        reject(reason) {
          settled();
          reject(reason);
        },
      });
      signal?.addEventListener('abort', abort, { once: true });
      say({ id, ...sent });
    });
  }

  function callUnnamed({ method, params }: Sent): Promise<unknown> {
    if (method !== 'ping' && method !== 'state_at' && method !== 'Temporal.StateAt')
      return Promise.reject(new RpcError(rpcCodes.methodNotFound, `a worker of before knows no ${method}`));
    return new Promise((resolve, reject) => {
      unnamed.push({ resolve, reject });
      wire.write(method === 'ping' ? 'ping\n' : `state_at ${JSON.stringify(params)}\n`);
    });
  }

  function say(message: object): void {
    wire.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }

  const failed = ended.then((reason) => Promise.reject(reason));
  // Nobody may wait for it any more by then.
  failed.catch(() => undefined);
  try {
    const hello = await Promise.race([readiness(ready, wire, options), failed]);
    if (hello !== undefined && wire.token !== undefined)
      await call({ method: 'initialize', params: { token: wire.token } });
    return { hello, call, close: wire.close, ended };
  } catch (error) {
    await wire.close();
    throw error;
  }
}

type Pending = { resolve: (result: unknown) => void; reject: (reason: unknown) => void };

async function readiness(
  ready: Promise<Hello | undefined>,
  wire: Wire,
  { legacyFallback = false }: LinkOptions,
): Promise<Hello | undefined> {
  if (!legacyFallback) return within(READY_MS, ready, 'the worker did not say that it is ready');
  try {
    return await within(FALLBACK_MS, ready, 'no answer');
  } catch {
    wire.write('ping\n');
    return within(FALLBACK_MS, ready, 'the worker answers neither JSON-RPC nor the line commands of before');
  }
}

async function within<T>(ms: number, what: Promise<T>, otherwise: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new WorkerGone(otherwise)), ms);
  });
  try {
    return await Promise.race([what, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A signal for both: that of the caller, and the deadline. `done` when neither counts any more. */
export function untilDeadline({ signal, deadlineMs }: CallOptions): {
  signal: AbortSignal;
  done: () => void;
} {
  // One of its own for each call: a caller's may serve hundreds at once.
  const own = signal === undefined ? [] : [signal];
  if (deadlineMs === undefined) return { signal: AbortSignal.any(own), done: () => undefined };
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new AtollError('timed_out', `no answer within ${deadlineMs} ms`)),
    deadlineMs,
  );
  return {
    signal: AbortSignal.any([...own, late.signal]),
    done: () => clearTimeout(timer),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
