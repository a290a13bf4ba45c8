/**
 * What a runner asks of a coordinator elsewhere, by the table of internal operations, with its own token. One that is
 * turned down is replaced where there can be another.
 */
import type { IncomingMessage } from 'node:http';
import { AtollError, isErrorCode } from '@atoll/protocol/errors';
import { internalOperations } from '@atoll/protocol/internal-operations';
import { parse } from '@atoll/protocol/parse';
import { restRequest } from '@atoll/protocol/rest-request';
import * as v from 'valibot';
import type { TokenSource } from './renewed.ts';

type Name = keyof typeof internalOperations;
type Params = Readonly<Record<string, unknown>>;
type Result<N extends Name> = v.InferOutput<(typeof internalOperations)[N]['result']>;

/** All reject with `coordinator_unreachable`, `timed_out`, the code that was answered, or as the runner's own tokens do. */
export type CoordinatorRequests = {
  /** `content`: the body, where the operation takes bytes. */
  call<N extends Name>(name: N, params: Params, content?: Uint8Array): Promise<Result<N>>;
  bytes(name: Name, params: Params): Promise<Uint8Array>;
};

/** One request. Rejects when there is no whole answer before the signal aborts. */
export type Send = (url: string, request: Sent) => Promise<Answer>;

type Sent = {
  method: string;
  headers: Record<string, string>;
  body: Uint8Array<ArrayBuffer> | string | undefined;
  signal: AbortSignal;
};
type Answer = { status: number; body: Uint8Array };

const problem = v.object({ code: v.string(), detail: v.string() });

export function createCoordinatorRequests(options: {
  url: string;
  tokens: TokenSource;
  /** Until the coordinator has answered. */
  timeoutMs: number;
  send?: Send;
}): CoordinatorRequests {
  const { tokens, timeoutMs, send: deliver = byFetch } = options;
  const base = options.url.replace(/\/+$/, '');

  async function ask(name: Name, params: Params, content?: Uint8Array): Promise<Answer> {
    const own = await tokens.token();
    const answer = await send(name, params, content, own);
    if (answer.status !== 401) return answer;
    const other = await tokens.token(own);
    return other === own ? answer : send(name, params, content, other);
  }

  async function send(
    name: Name,
    params: Params,
    content: Uint8Array | undefined,
    own: string,
  ): Promise<Answer> {
    const { method, path, headers, body } = restRequest(internalOperations[name], params);
    try {
      return await deliver(base + path, {
        method,
        headers: { ...headers, authorization: `Bearer ${own}` },
        body: content ? new Uint8Array(content) : body,
        signal: AbortSignal.timeout(timeoutMs),
      });
    } catch (error) {
      const late = error instanceof Error && error.name === 'TimeoutError';
      throw new AtollError(late ? 'timed_out' : 'coordinator_unreachable', undefined, { cause: error });
    }
  }

  return {
    async call(name, params, content) {
      const { result } = internalOperations[name];
      return parse(result, granted(await ask(name, params, content))) as Result<typeof name>;
    },
    async bytes(name, params) {
      const answer = await ask(name, params);
      if (answer.status !== 200) granted(answer);
      return answer.body;
    },
  };
}

const byFetch: Send = async (url, { body, ...request }) => {
  const response = await fetch(url, {
    ...request,
    ...(body === undefined ? {} : { body }),
    redirect: 'error',
  });
  return { status: response.status, body: new Uint8Array(await response.arrayBuffer()) };
};

/**
 * Over one connection, which ends with a request that is not answered. Where packets arrive there and no answer comes
 * back, every connection that is open can carry one more request, and renew a lease of which this side never hears.
 */
export function overOneConnection(server: string): Send {
  const transport = process.getBuiltinModule(server.startsWith('https:') ? 'node:https' : 'node:http');
  const agent = new transport.Agent({ keepAlive: true, maxSockets: 1 });
  return async (url, { method, headers, body, signal }) => {
    const answered = Promise.withResolvers<IncomingMessage>();
    const request = transport.request(url, { method, headers, agent, signal });
    request.on('response', answered.resolve);
    request.on('error', (error) => answered.reject(signal.aborted ? signal.reason : error));
    request.end(body);
    const response = await answered.promise;
    return { status: response.statusCode ?? 500, body: Buffer.concat(await response.toArray()) };
  };
}

/** Throws what the coordinator answered instead. */
function granted({ status, body }: Answer): unknown {
  const said = readJson(Buffer.from(body).toString());
  if (status === 200 && said !== undefined) return said;
  const refused = v.safeParse(problem, said);
  if (refused.success && isErrorCode(refused.output.code))
    throw new AtollError(refused.output.code, refused.output.detail);
  throw new AtollError(
    'coordinator_unreachable',
    `what is there answers ${status}, not as a coordinator does`,
  );
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A page of something that stands in between.
    return undefined;
  }
}
