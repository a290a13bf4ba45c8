/**
 * A coordinator elsewhere: the runner's own token is traded there for one of each session, which is kept until it nears
 * its end, or is turned down.
 */
import type { Coordinator, CoordinatorApi } from '@atoll/protocol/runner-link';
import type { Logger } from '../logger.ts';
import { createAgentCache } from './agent-cache.ts';
import { createRenewed, type TimedToken, type TokenSource } from './renewed.ts';
import {
  type CoordinatorRequests,
  createCoordinatorRequests,
  overOneConnection,
  type Send,
} from './requests.ts';
import { createSnapshotBlobs } from './snapshot-blobs.ts';

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

/** As a gateway alone needs it. */
export function createHttpCoordinator(options: HttpCoordinatorOptions): CoordinatorApi {
  return apiBy(requestsOf(options), options);
}

/** As a runner needs it: agent folders and snapshots come from there and go there by their hashes. */
export function createRemoteCoordinator(options: HttpCoordinatorOptions): Coordinator & {
  /** For what is about its lease. */
  readonly leaseRequests: CoordinatorRequests;
} {
  const requests = requestsOf(options);
  return {
    ...apiBy(requests, options),
    leaseRequests: requestsOf(options, overOneConnection(options.url)),
    agents: createAgentCache({
      manifest: (of) => requests.call('agent.manifest.get', of),
      file: (of) => requests.bytes('agent.file.get', of),
    }),
    snapshots: createSnapshotBlobs({
      put: (blob, content) => requests.call('snapshot.blob.put', blob, content),
      get: (blob) => requests.bytes('snapshot.blob.get', blob),
    }),
    async credentials(session) {
      const { credentials } = await requests.call('session.credentials.get', session);
      return credentials.map(({ methods, paths, ...credential }) => ({ ...credential, methods, paths }));
    },
    recordAccess: async (report) => void (await requests.call('session.access.record', report)),
    modelUse: (report) => requests.call('session.model-use.add', report),
  };
}

function requestsOf(
  { url, tokens, timeoutMs = 10_000 }: HttpCoordinatorOptions,
  send?: Send,
): CoordinatorRequests {
  return createCoordinatorRequests({ url, tokens, timeoutMs, ...(send && { send }) });
}

function apiBy(
  requests: CoordinatorRequests,
  { url, logger, now = Date.now }: HttpCoordinatorOptions,
): CoordinatorApi {
  const sessions = new Map<string, TokenSource>();

  async function trade(assignment: Assignment): Promise<TimedToken> {
    const { token, expiresAt } = await requests.call('session.token.create', assignment);
    return { token, expiresAtMs: Date.parse(expiresAt) };
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
