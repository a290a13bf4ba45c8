/**
 * One host at the other end of a pipe or a socket, speaking JSON-RPC 2.0 lines (protocols §5).
 *
 * Stages of a line: framed → read as requests → the token, if there is one → carried out, all at the same time → answered
 * when done, or when its deadline is past or it was cancelled. Answers and events go out one whole line after another; as
 * long as the host does not take them, nothing more is made for it (I9).
 */
import { timingSafeEqual } from 'node:crypto';
import { AtollError } from '@atoll/protocol/errors';
import { RpcError, rpcCodes, toRpcError } from '@atoll/protocol/json-rpc';
import { MAX_LINE_BYTES } from '@atoll/protocol/lines';
import { createLinesIn } from '@atoll/protocol/lines-in';
import { rejectedBy } from '@atoll/protocol/rejected-by';
import { childTraceparent } from '@atoll/protocol/trace';
import type { Hello } from '@atoll/protocol/worker-methods';
import * as v from 'valibot';
import { access } from '../keys/access.ts';
import type { Logger } from '../logger.ts';
import type { Context, Handlers } from '../routes/handler.ts';
import { toAtollError } from '../routes/to-atoll-error.ts';
import { createLegacyLines } from './legacy-lines.ts';
import type { Methods } from './methods.ts';
import { type Called, createOwnMethods } from './own-methods.ts';
import { type RpcFault, type RpcId, type RpcRequest, readLine } from './requests.ts';
import { createSubscriptions } from './subscriptions.ts';

export type HostChannel = {
  readonly input: AsyncIterable<Uint8Array>;
  /**
   * Resolves when there is room for more; rejects when the host is gone. `onTaken` is called once the bytes are not looked
   * at any more; when the host is gone, perhaps never.
   */
  write(bytes: Uint8Array, onTaken?: () => void): Promise<void>;
  /** After it, nothing more comes and goes. */
  close(): void;
};

export type ConnectionOptions = {
  channel: HostChannel;
  hello: Hello;
  /** What the API is made of; resolves when it is loaded. */
  api: () => Promise<{ methods: Methods; handlers: Handlers }>;
  /** What the host must know before anything is carried out. */
  token: string | undefined;
  /** Whether a line too long ends the connection; otherwise that line alone is refused. */
  endsOnLongLine: boolean;
  /** Whether the line commands of before are answered, too. */
  legacy: boolean;
  logger: Logger;
};

/** Beside each other; more are refused. */
const MAX_RUNNING = 1000;

/** Serves until the host is gone or is sent away; what still ran for it is then aborted. Never rejects. */
export async function serveConnection(options: ConnectionOptions): Promise<void> {
  const { channel, hello, api, token, endsOnLongLine, logger } = options;
  /** The whole computer is this one user's. */
  const owner = access('default', 'admin');
  const running = new Map<RpcId, AbortController>();
  const gone = new AbortController();
  let trusted = token === undefined;
  let sending = Promise.resolve();
  const subscriptions = createSubscriptions({ send, signal: gone.signal, logger });
  const own = createOwnMethods({ hello, api, subscriptions });

  /** One line after another, each when the one before was taken. */
  function send(bytes: Uint8Array, onTaken?: () => void): Promise<void> {
    sending = sending
      .then(() => (gone.signal.aborted ? undefined : channel.write(bytes, onTaken)))
      .catch(leave);
    return sending;
  }

  function leave(): void {
    if (gone.signal.aborted) return;
    gone.abort(new AtollError('cancelled', 'the host is gone'));
    for (const abort of running.values()) abort.abort(gone.signal.reason);
    own.close();
    channel.close();
  }

  /** Says why, and ends the connection. */
  async function sendAway(answer: unknown): Promise<void> {
    await send(lineOf(answer));
    leave();
  }

  async function onLine(line: Buffer): Promise<void> {
    if (line.length === 0 || legacy?.take(line)) return;
    const { batch, entries } = readLine(line);
    const refusal = entries.map(mistrust).find((found) => found !== undefined);
    if (refusal) return sendAway(refusal);
    const room = batch ? { bytes: MAX_LINE_BYTES } : undefined;
    const answered = await Promise.all(entries.map((entry) => answerTo(entry, room)));
    const outcomes = answered.filter((outcome) => outcome !== undefined);
    const answers = outcomes.map(({ answer }) => answer).join(',');
    if (outcomes.length > 0) await send(Buffer.from(batch ? `[${answers}]\n` : `${answers}\n`));
    for (const { begin } of outcomes) begin?.();
  }

  /** Takes the token where one comes along. A wrong one ends the connection. */
  function mistrust(entry: RpcRequest | RpcFault): Answer | undefined {
    if (token === undefined || 'fault' in entry) return undefined;
    const given = entry.method === 'initialize' ? (entry.params.token ?? entry.token) : entry.token;
    if (given === undefined) return undefined;
    if (isToken(given, token)) {
      trusted = true;
      return undefined;
    }
    trusted = false;
    return failure(entry.id ?? null, new AtollError('unauthorized', 'the token is wrong'));
  }

  /** `room`: for the answers of a batch, which are one line. */
  async function answerTo(entry: RpcRequest | RpcFault, room?: Room): Promise<Outcome | undefined> {
    if ('fault' in entry) return { answer: JSON.stringify(failure(entry.id, entry.fault)) };
    if (entry.id === undefined) {
      notice(entry);
      return undefined;
    }
    try {
      const { result, begin } = await carryOut(entry, entry.id);
      const answer = JSON.stringify({ jsonrpc: '2.0', id: entry.id, result: result ?? null });
      if (room) takeRoom(room, answer);
      return { answer, begin };
    } catch (error) {
      return { answer: JSON.stringify(failure(entry.id, known(error))) };
    }
  }

  function known(error: unknown): AtollError | RpcError {
    return error instanceof RpcError ? error : toAtollError(error, logger);
  }

  /** The only notification that does anything. */
  function notice({ method, params }: RpcRequest): void {
    if (!trusted || method !== '$/cancelRequest') return;
    const cancelled = params.id;
    if (typeof cancelled === 'string' || typeof cancelled === 'number')
      running.get(cancelled)?.abort(new AtollError('cancelled', 'the host cancelled the request'));
  }

  async function carryOut(request: RpcRequest, id: RpcId): Promise<Called> {
    if (!trusted)
      throw new AtollError('unauthorized', 'send the launch token in initialize, or as "token" of a request');
    if (running.has(id)) throw new RpcError(rpcCodes.invalidRequest, 'a request with this id still runs');
    if (running.size >= MAX_RUNNING)
      throw new AtollError('too_many_requests', `at most ${MAX_RUNNING} requests run at a time`);
    const abort = new AbortController();
    running.set(id, abort);
    const timer = startDeadline(request, abort);
    try {
      return await Promise.race([call(request, abort.signal), rejectedBy(abort.signal)]);
    } finally {
      clearTimeout(timer);
      running.delete(id);
    }
  }

  async function call({ method, params, traceparent }: RpcRequest, signal: AbortSignal): Promise<Called> {
    const context: Context = {
      access: owner,
      signal,
      traceparent: childTraceparent(typeof traceparent === 'string' ? traceparent : undefined),
    };
    const mine = own.find(method);
    if (mine) return mine(params, context);
    const found = (await api()).methods.get(method);
    if (!found) throw new RpcError(rpcCodes.methodNotFound, `no method ${method.slice(0, 100)}`);
    return { result: await found(params, context) };
  }

  /** A command of before, which has neither id nor token. */
  async function callUnnamed(method: string, params: Record<string, unknown>): Promise<unknown> {
    if (!trusted) throw new AtollError('unauthorized', 'the launch token comes first, in initialize');
    const request = { id: undefined, token: undefined, deadlineMs: undefined, traceparent: undefined };
    try {
      return (await call({ ...request, method, params }, gone.signal)).result;
    } catch (error) {
      throw known(error);
    }
  }

  const legacy = options.legacy ? createLegacyLines({ call: callUnnamed, send }) : undefined;
  const lines = createLinesIn({
    onLine: (line) => void onLine(Buffer.from(line.buffer, line.byteOffset, line.byteLength)),
    onTooLong() {
      const fault = failure(null, new RpcError(rpcCodes.invalidRequest, 'a line is longer than 32 MiB'));
      void (endsOnLongLine ? sendAway(fault) : send(lineOf(fault)));
    },
  });

  await send(lineOf({ jsonrpc: '2.0', method: 'ready', params: hello }));
  try {
    for await (const chunk of channel.input) {
      if (gone.signal.aborted) break;
      lines.push(chunk);
      // Whoever takes no answers is not read either.
      await Promise.all([sending, legacy?.answered]);
    }
  } catch (error) {
    logger.debug({ err: error }, 'a host went away');
  }
  leave();
}

/** `answer`: as JSON. */
type Outcome = { answer: string; begin?: (() => void) | undefined };
type Answer = { jsonrpc: '2.0'; id: RpcId | null; error: unknown };
type Room = { bytes: number };

/** Together, answers that are each as large as they may be are more than a text can hold. */
function takeRoom(room: Room, answer: string): void {
  const bytes = Buffer.byteLength(answer);
  if (bytes > room.bytes)
    throw new AtollError(
      'too_many_requests',
      'the answers of one batch are at most 32 MiB together: ask for this by itself',
    );
  room.bytes -= bytes;
}

const deadline = v.pipe(v.number(), v.minValue(1), v.maxValue(24 * 3600_000));

function failure(id: RpcId | null, error: AtollError | RpcError): Answer {
  return { jsonrpc: '2.0', id, error: toRpcError(error) };
}

function lineOf(message: unknown): Uint8Array {
  return Buffer.from(`${JSON.stringify(message)}\n`);
}

function startDeadline(
  { deadlineMs: given }: RpcRequest,
  abort: AbortController,
): NodeJS.Timeout | undefined {
  if (given === undefined) return undefined;
  const { success, output } = v.safeParse(deadline, given);
  if (!success) {
    const detail = 'deadlineMs is a number of milliseconds from 1 to 86400000';
    throw new RpcError(rpcCodes.invalidParams, detail, { detail });
  }
  return setTimeout(() => abort.abort(new AtollError('timed_out', `no answer within ${output} ms`)), output);
}

/** Takes as long for any wrong token of that length. */
function isToken(given: unknown, token: string): boolean {
  if (typeof given !== 'string') return false;
  const [left, right] = [Buffer.from(given), Buffer.from(token)];
  return left.length === right.length && timingSafeEqual(left, right);
}
