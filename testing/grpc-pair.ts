/** For tests: a coordinator that is a gRPC server and nothing else, and a runner's connection to it. */
import assert from 'node:assert/strict';
import { PROTOCOL_VERSION } from '@atoll/protocol/wire';
import { createGrpcConnection } from '@atoll/runner/grpc';
import { createGrpcServer, type GrpcServerOptions } from '@atoll/server/grpc-server';

export const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** What a runner says of itself. */
export const description = {
  runnerId: 'run_test',
  address: 'here',
  capacity: 4,
  labels: {},
  executorProfiles: [],
  drivers: [],
  hostname: 'here',
  version: '0',
  protocolVersion: PROTOCOL_VERSION,
  callbackToken: 'at-least-sixteen-characters',
};

type Coordinator = Pick<GrpcServerOptions, 'registrations' | 'recognise'> & Partial<GrpcServerOptions>;

/** On loopback. Nobody asks it for what is not given. */
export async function startGrpcCoordinator(given: Coordinator): Promise<AsyncDisposable & { url: string }> {
  const server = await createGrpcServer({
    agents: {
      manifest: async () => assert.fail('no manifest was asked for'),
      file: async () => assert.fail('no file was asked for'),
    },
    snapshots: {
      put: async () => assert.fail('no blob was put'),
      get: async () => assert.fail('no blob was asked for'),
    },
    apiUrl: 'http://127.0.0.1:1',
    logger: silent,
    ...given,
  });
  const port = await server.listen({ host: '127.0.0.1', port: 0, tls: undefined });
  return { url: `grpc://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => server.close() };
}

export function dial(url: string, token: Parameters<typeof createGrpcConnection>[0]['tokens']['token']) {
  return createGrpcConnection({
    target: { server: url, tls: { ca: undefined, cert: undefined, key: undefined } },
    tokens: { token },
    logger: silent,
  });
}
