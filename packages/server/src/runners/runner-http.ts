/**
 * Requests to one runner over kept connections, by the runner's table of operations. What cannot reach it, or is cut
 * off, is `runner_unreachable`, and may be tried again while its lease runs; then it is `runner_lost`.
 */
import type { ClientRequest, IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { AtollError, isErrorCode } from '@atoll/protocol/errors';
import { restRequest } from '@atoll/protocol/rest-request';
import {
  type RunnerOperationName,
  type RunnerOperationResult,
  runnerOperations,
} from '@atoll/protocol/runner-operations';
import * as v from 'valibot';

export type RunnerHttp = {
  /** The JSON answer. `again`: tried until the runner answers or is lost; for what may come twice. */
  call<N extends RunnerOperationName>(
    name: N,
    params: Readonly<Record<string, unknown>>,
    how?: { again: boolean },
  ): Promise<RunnerOperationResult<N>>;
  /** The answer as it comes, of a status below 300. */
  open(
    name: RunnerOperationName,
    params: Readonly<Record<string, unknown>>,
    extra?: { content?: AsyncIterable<Uint8Array>; headers?: Record<string, string> },
  ): Promise<IncomingMessage>;
  /** For how long nothing that was asked of it was answered; 0 as long as anything is. */
  unreachedMs(): number;
  /** Whether anything ever was. */
  readonly answered: boolean;
  /** Runs `attempt` until it does not reject with `runner_unreachable`. Rejects with `runner_lost` when that is the case. */
  persist<T>(attempt: () => Promise<T>): Promise<T>;
  /** Rejects what is under way and what comes later with `runner_lost`. */
  close(): void;
  readonly closed: boolean;
};

const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 1_000;
/** Until a connection is there. Packets that are dropped on their way tell nobody. */
const CONNECT_MS = 5_000;
/** Until an answer to what the runner has only to look up begins. */
const ANSWER_MS = 5_000;
/** A connection that says nothing for so long is asked whether it is there, and given up 10 s later. */
const QUIET_MS = 3_000;
/** A runner has at most 10 000 sandboxes: the stream of each one’s turn, and what is asked beside it. */
const MAX_SOCKETS = 20_000;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** What may take as long as it takes: sandboxes, snapshots and files. */
const slow: readonly RunnerOperationName[] = [
  'sandbox.create',
  'sandbox.claim',
  'sandbox.delete',
  'sandbox.sweep',
  'workspace.snapshot',
  'workspace.restore',
  'files.list',
  'files.read',
  'files.write',
  'files.delete',
];

const problem = v.object({ code: v.string(), detail: v.string() });

export function createRunnerHttp({ address, token }: { address: string; token: string }): RunnerHttp {
  const base = new URL(address);
  const transport = process.getBuiltinModule(base.protocol === 'https:' ? 'node:https' : 'node:http');
  const agent = new transport.Agent({
    keepAlive: true,
    keepAliveMsecs: QUIET_MS,
    maxSockets: MAX_SOCKETS,
    scheduling: 'lifo',
  });
  const gone = new AbortController();
  /** By hand: a signal would end the connections of answers that have just come, and nobody hears of those. */
  const underWay = new Set<ClientRequest | IncomingMessage>();
  let unreachedSinceMs: number | undefined;
  let answers = false;

  async function open(
    name: RunnerOperationName,
    params: Readonly<Record<string, unknown>>,
    { content, headers = {} }: { content?: AsyncIterable<Uint8Array>; headers?: Record<string, string> } = {},
  ): Promise<IncomingMessage> {
    if (gone.signal.aborted) throw new AtollError('runner_lost');
    const { method, path, body, headers: own } = restRequest(runnerOperations[name], params);
    const answered = Promise.withResolvers<IncomingMessage>();
    const request = transport.request(base.origin + base.pathname.replace(/\/$/, '') + path, {
      method,
      agent,
      headers: { ...own, ...headers, authorization: `Bearer ${token}` },
    });
    underWay.add(request);
    request.on('response', (response) => {
      underWay.delete(request);
      underWay.add(response);
      response.once('close', () => underWay.delete(response));
      answered.resolve(response);
    });
    request.on('error', (error) => {
      underWay.delete(request);
      answered.reject(unreachable(error));
    });
    giveUpSilent(request, slow.includes(name));
    if (content === undefined) request.end(body);
    // The runner may answer before it took everything; then its answer counts.
    else pipeline(Readable.from(content), request).catch((error) => answered.reject(unreachable(error)));
    const response = await answered.promise.catch((error) => {
      unreachedSinceMs ??= performance.now();
      throw error;
    });
    unreachedSinceMs = undefined;
    answers = true;
    response.on('error', () => undefined); // whoever reads it hears of that
    if ((response.statusCode ?? 500) >= 300) throw refusal(response.statusCode, await textOf(response));
    return response;
  }

  function giveUpSilent(request: ClientRequest, mayTakeLong: boolean): void {
    const silent = (what: string) => () =>
      request.destroy(new AtollError('runner_unreachable', `${address} cannot be reached: ${what}`));
    const late = mayTakeLong ? undefined : setTimeout(silent('no answer'), ANSWER_MS);
    let unconnected: NodeJS.Timeout | undefined;
    request.once('socket', (socket) => {
      if (!socket.connecting) return;
      unconnected = setTimeout(silent('no connection'), CONNECT_MS);
      socket.once('connect', () => clearTimeout(unconnected));
    });
    for (const over of ['response', 'close'])
      request.once(over, () => {
        clearTimeout(late);
        clearTimeout(unconnected);
      });
  }

  function unreachable(cause: unknown): AtollError {
    if (cause instanceof AtollError) return cause;
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : 'the connection broke off';
    return new AtollError('runner_unreachable', `${address} cannot be reached: ${why}`, { cause });
  }

  function textOf(response: IncomingMessage): Promise<string> {
    const text = Promise.withResolvers<string>();
    const pieces: Buffer[] = [];
    let bytes = 0;
    response.on('data', (piece: Buffer) => {
      bytes += piece.length;
      if (bytes > MAX_ANSWER_BYTES) response.destroy(noAnswer('it is too long'));
      else pieces.push(piece);
    });
    response.once('end', () => text.resolve(Buffer.concat(pieces).toString()));
    response.once('error', (error) => text.reject(unreachable(error)));
    response.once('close', () => {
      if (!response.readableEnded) text.reject(unreachable(undefined));
    });
    return text.promise;
  }

  async function persist<T>(attempt: () => Promise<T>): Promise<T> {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
      if (gone.signal.aborted) throw new AtollError('runner_lost');
      try {
        return await attempt();
      } catch (error) {
        const again = error instanceof AtollError && error.code === 'runner_unreachable';
        if (!again) throw error;
      }
      await delay(pauseMs, undefined, { signal: gone.signal }).catch(() => undefined); // seen above
    }
  }

  return {
    open,
    persist,
    async call(name, params, { again } = { again: true }) {
      const ask = async () => {
        const answer = readJson(await textOf(await open(name, params)));
        const { issues, output } = v.safeParse(runnerOperations[name].result, answer);
        if (issues) throw noAnswer(`${issues[0].message}`);
        return output as RunnerOperationResult<typeof name>;
      };
      if (again) return persist(ask);
      return ask().catch((error) => {
        throw gone.signal.aborted ? new AtollError('runner_lost') : error;
      });
    },
    get answered() {
      return answers;
    },
    unreachedMs: () => (unreachedSinceMs === undefined ? 0 : performance.now() - unreachedSinceMs),
    close() {
      gone.abort();
      for (const each of underWay) each.destroy(new AtollError('runner_lost'));
      agent.destroy();
    },
    get closed() {
      return gone.signal.aborted;
    },
  };
}

function refusal(status: number | undefined, body: string): AtollError {
  const said = v.safeParse(problem, readJson(body));
  if (said.success && isErrorCode(said.output.code))
    return new AtollError(said.output.code, said.output.detail);
  return new AtollError('runner_unreachable', `what is there answers ${status}, not as a runner does`);
}

/** That no other attempt would mend. */
function noAnswer(why: string): AtollError {
  return new AtollError('executor_failed', `what the runner answered is no answer: ${why}`);
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A page of something that stands in between.
    return undefined;
  }
}
