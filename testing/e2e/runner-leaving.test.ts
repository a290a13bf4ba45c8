/** A runner that dials out and is told to stop before it has its answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '@atoll/protocol/ids';
import { PROTOCOL_VERSION } from '@atoll/protocol/wire';
import { createGrpcConnection } from '@atoll/runner/grpc';
import { access } from '@atoll/server/access';
import { createGrpcServer } from '@atoll/server/grpc-server';

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const lease = { leaseMs: 15_000, heartbeatMs: 5_000, until: new Date(0).toISOString() };
const description = {
  runnerId: 'run_test',
  address: 'here',
  capacity: 1,
  labels: {},
  executorProfiles: [],
  drivers: [],
  hostname: 'here',
  version: '0',
  protocolVersion: PROTOCOL_VERSION,
  callbackToken: 'at-least-sixteen-characters',
};

test('what is answered after it was closed opens no connection that would keep it from ending', {
  timeout: 20_000,
}, async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  const server = await createGrpcServer({
    registrations: {
      async register() {
        asked.resolve();
        await answer.promise;
        return { registrationId: newId('job'), lease };
      },
      heartbeat: async () => ({ lease }),
      deregister: async () => ({ sandboxes: 0 }),
    },
    recognise: async () => access('t', 'runner'),
    agents: { manifest: () => assert.fail(), file: () => assert.fail() },
    snapshots: { put: () => assert.fail(), get: () => assert.fail() },
    apiUrl: 'http://127.0.0.1:1',
    logger: silent,
  });
  const port = await server.listen({ host: '127.0.0.1', port: 0, tls: undefined });
  const connection = createGrpcConnection({
    target: { server: `grpc://127.0.0.1:${port}`, tls: { ca: undefined, cert: undefined, key: undefined } },
    tokens: { token: async () => 'own' },
    logger: silent,
  });
  connection.serve({ attach() {}, receive() {}, sandboxes: 0 });
  const registering = connection.requests.register(description);
  registering.catch(() => undefined);
  await asked.promise;
  connection.close();
  answer.resolve();
  await assert.rejects(registering, { code: 'cancelled' });
  await server.close();
});
