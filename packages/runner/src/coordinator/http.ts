/**
 * A coordinator elsewhere, as gateways see it: the runner's own token is traded there for one of each session. A session's
 * token is kept until it nears its end, or is turned down.
 */
import { AtollError, isErrorCode } from '@atoll/protocol/errors';
import { operations } from '@atoll/protocol/operations';
import { parse } from '@atoll/protocol/parse';
import type { CoordinatorApi } from '@atoll/protocol/runner-link';
import * as v from 'valibot';
import type { Logger } from '../logger.ts';
import { createRenewed, type TimedToken, type TokenSource } from './renewed.ts';

export type HttpCoordinatorOptions = {
  url: string;
  /** The runner's own. */
  tokens: TokenSource;
  logger: Logger;
  now?: () => number;
  /** Until the coordinator has answered. Default 10 s. */
  timeoutMs?: number;
};

type Assignment = { sessionId: string; epoch: number };

/** Beyond it the oldest is forgotten, and would be asked for again. */
const MAX_SESSIONS = 1000;

const problem = v.object({ code: v.string(), detail: v.string() });

/**
 * `sessionToken` rejects with `coordinator_unreachable`, `timed_out`, the code that the coordinator answered, or as the
 * runner's own tokens do.
 */
export function createHttpCoordinator(options: HttpCoordinatorOptions): CoordinatorApi {
  const { url, tokens, logger, now = Date.now, timeoutMs = 10_000 } = options;
  const { rest, result } = operations['session.token.create'];
  const sessions = new Map<string, TokenSource>();

  async function trade(assignment: Assignment): Promise<TimedToken> {
    const own = await tokens.token();
    let answer = await ask(assignment, own);
    if (answer.status === 401) {
      const other = await tokens.token(own);
      if (other !== own) answer = await ask(assignment, other);
    }
    const { token, expiresAt } = parse(result, granted(answer));
    return { token, expiresAtMs: Date.parse(expiresAt) };
  }

  async function ask({ sessionId, epoch }: Assignment, own: string): Promise<Answer> {
    const path = rest.path.replace(':sessionId', encodeURIComponent(sessionId));
    try {
      const response = await fetch(url.replace(/\/+$/, '') + path, {
        method: rest.method,
        headers: { authorization: `Bearer ${own}`, 'content-type': 'application/json' },
        body: JSON.stringify({ epoch }),
        redirect: 'error',
        signal: AbortSignal.timeout(timeoutMs),
      });
      return { status: response.status, body: await response.text() };
    } catch (error) {
      const late = error instanceof Error && error.name === 'TimeoutError';
      throw new AtollError(late ? 'timed_out' : 'coordinator_unreachable', undefined, { cause: error });
    }
  }

  function sessionTokens(assignment: Assignment): TokenSource {
    const name = `${assignment.sessionId} ${assignment.epoch}`;
    const known = sessions.get(name);
    if (known) return known;
    const made = createRenewed({ obtain: () => trade(assignment), now, logger });
    sessions.set(name, made);
    const [oldest] = sessions.keys();
    if (sessions.size > MAX_SESSIONS && oldest !== undefined) sessions.delete(oldest);
    return made;
  }

  return {
    url,
    sessionToken: ({ sessionId, epoch, refused }) => sessionTokens({ sessionId, epoch }).token(refused),
  };
}

type Answer = { status: number; body: string };

/** Throws what the coordinator answered instead. */
function granted({ status, body }: Answer): unknown {
  const said = readJson(body);
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
