/**
 * What a runner asks of a coordinator elsewhere, by the table of internal operations, with its own token. One that is
 * turned down is replaced where there can be another.
 */
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

const problem = v.object({ code: v.string(), detail: v.string() });

export function createCoordinatorRequests(options: {
  url: string;
  tokens: TokenSource;
  /** Until the coordinator has answered. */
  timeoutMs: number;
}): CoordinatorRequests {
  const { tokens, timeoutMs } = options;
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
    const sent = content ? new Uint8Array(content) : body;
    try {
      const response = await fetch(base + path, {
        method,
        headers: { ...headers, authorization: `Bearer ${own}` },
        ...(sent === undefined ? {} : { body: sent }),
        redirect: 'error',
        signal: AbortSignal.timeout(timeoutMs),
      });
      return { status: response.status, body: new Uint8Array(await response.arrayBuffer()) };
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

type Answer = { status: number; body: Uint8Array };

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
