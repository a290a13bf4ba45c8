/**
 * A sandbox's way to the coordinator: what its executor says of itself, completed with what the runner knows, and any
 * other path as it is. Every call goes with the token of the sandbox's own session, which reaches that session alone;
 * when there is none, nothing is sent.
 */
import { AtollError, asAtollError } from '@atoll/protocol/errors';
import type { CoordinatorApi } from '@atoll/protocol/runner-link';
import type { Logger } from '../logger.ts';
import { type Call, type Row, refuse } from './call.ts';
import {
  executorMethod,
  isExecutorRoute,
  type Owned,
  readSaid,
  reportOf,
  routeOfApi,
} from './executor-routes.ts';
import { executorHeaders } from './headers.ts';
import type { Going, Relay } from './relay.ts';

/** Until an answer begins; a stream may then go on as long as it likes. */
const TIMEOUT_MS = 30_000;

/** After these the next call takes another token: the coordinator may have started anew, or the session moved. */
const TURNED_DOWN: ReadonlySet<number> = new Set([401, 409]);
const NOBODY_ANSWERED: ReadonlySet<string> = new Set(['coordinator_unreachable', 'timed_out']);

export type CoordinatorRowOptions = {
  coordinator: CoordinatorApi;
  /** The session of this gateway, in the assignment that its sandbox is of. */
  session: { id: string; epoch: number };
  owned: Owned;
  relay: Relay;
  logger: Logger;
  timeoutMs?: number;
};

export function createCoordinatorRow(options: CoordinatorRowOptions): Row {
  const { coordinator, session, owned, relay, logger, timeoutMs = TIMEOUT_MS } = options;
  const base = new URL(coordinator.url);
  const prefix = base.pathname.replace(/\/$/, '');
  let refused: string | undefined;

  async function going(call: Call): Promise<Pick<Going, 'path' | 'headers' | 'body'>> {
    const { request, path, query } = call;
    const headers = executorHeaders(request.headers);
    const own = isExecutorRoute(path);
    const route = own ? path : routeOfApi(request.method, apiPath(path), session.id);
    if (route === undefined) return { path: prefix + apiPath(path) + query, headers };
    const said = await readSaid(request, own ? undefined : session.id);
    const { path: target, body } = reportOf(said, route, session.id, owned);
    // What encoded the executor's own bytes does not hold for these.
    const { 'content-encoding': _, ...kept } = headers;
    return { path: prefix + target, headers: { ...kept, 'content-type': 'application/json' }, body };
  }

  async function token(): Promise<string> {
    try {
      return await coordinator.sessionToken({ sessionId: session.id, epoch: session.epoch, refused });
    } catch (error) {
      logger.warn({ sessionId: session.id, err: error }, 'a gateway got no token for its session');
      if (error instanceof AtollError && NOBODY_ANSWERED.has(error.code)) throw new AtollError(error.code);
      throw new AtollError('no_session_token', undefined, { cause: error });
    }
  }

  return {
    takes: () => true,
    async answer(call) {
      const { request, response, path } = call;
      const method = executorMethod(path);
      if (method !== undefined && request.method !== method)
        return refuse(response, new AtollError('method_not_allowed', `${path} takes ${method}`), {
          allow: method,
        });
      try {
        const sent = await going(call);
        const secret = await token();
        response.once('close', () => {
          if (TURNED_DOWN.has(response.statusCode)) refused = secret;
        });
        relay.send(call, {
          ...sent,
          base,
          connect: coordinator.connect,
          headers: { ...sent.headers, authorization: `Bearer ${secret}` },
          secrets: [secret],
          timeoutMs,
          onFailure(kind, reason) {
            logger.warn({ host: base.host, reason }, 'the coordinator did not answer a gateway');
            const code = kind === 'timed_out' ? 'timed_out' : 'coordinator_unreachable';
            refuse(response, new AtollError(code));
          },
        });
      } catch (error) {
        const known = asAtollError(error);
        if (known.code === 'internal') logger.error({ err: error }, 'a gateway could not forward a call');
        refuse(response, known);
      }
    },
  };
}

/** `/sessions/…` is the same as `/api/sessions/…`. */
function apiPath(path: string): string {
  return path === '/sessions' || path.startsWith('/sessions/') ? `/api${path}` : path;
}
