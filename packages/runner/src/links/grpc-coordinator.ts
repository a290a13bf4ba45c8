/**
 * A coordinator that a runner dialled: blobs come and go over that connection, by their hashes; what gateways need goes
 * to its HTTP API, whose address it tells when the runner registers.
 */
import { AtollError } from '@atoll/protocol/errors';
import { parse } from '@atoll/protocol/parse';
import type { Coordinator } from '@atoll/protocol/runner-link';
import { agentManifest } from '@atoll/protocol/schemas/internal';
import { createAgentCache } from '../coordinator/agent-cache.ts';
import { createRemoteCoordinator } from '../coordinator/http.ts';
import type { TokenSource } from '../coordinator/renewed.ts';
import { createSnapshotBlobs } from '../coordinator/snapshot-blobs.ts';
import type { Logger } from '../logger.ts';
import type { GrpcConnection } from './grpc-connection.ts';

export function createGrpcCoordinator(options: {
  connection: Pick<GrpcConnection, 'apiUrl' | 'get' | 'put'>;
  tokens: TokenSource;
  logger: Logger;
}): Coordinator {
  const { connection, tokens, logger } = options;
  let api: ReturnType<typeof createRemoteCoordinator> | undefined;
  connection.apiUrl.then(
    (url) => {
      api = createRemoteCoordinator({ url, tokens, logger });
    },
    () => undefined, // it never registered, so no sandbox asks
  );

  function http(): ReturnType<typeof createRemoteCoordinator> {
    if (api) return api;
    throw new AtollError('coordinator_unreachable', 'this runner is not registered yet');
  }

  return {
    get url() {
      return http().url;
    },
    agents: createAgentCache({
      manifest: async (of) =>
        parse(agentManifest, JSON.parse(Buffer.from(await connection.get('manifest', of)).toString())),
      file: (of) => connection.get('agent_file', of),
    }),
    snapshots: createSnapshotBlobs({
      put: (blob, content) => connection.put({ ...blob, content }),
      get: (blob) => connection.get('snapshot_get', blob),
    }),
    sessionToken: (of) => http().sessionToken(of),
    credentials: (of) => http().credentials(of),
    recordAccess: (report) => http().recordAccess(report),
    modelUse: (report) => http().modelUse(report),
  };
}
