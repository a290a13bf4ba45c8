/** A runner that dials out and is told to stop before it has its answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '@atoll/protocol/ids';
import { access } from '@atoll/server/access';
import { description, dial, startGrpcCoordinator } from '../grpc-pair.ts';

const lease = { leaseMs: 15_000, heartbeatMs: 5_000, until: new Date(0).toISOString() };

test('what is answered after it was closed opens no connection that would keep it from ending', {
  timeout: 20_000,
}, async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  await using coordinator = await startGrpcCoordinator({
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
  });
  const connection = dial(coordinator.url, async () => 'own');
  connection.serve({ attach() {}, receive() {}, sandboxes: 0 });
  const registering = connection.requests.register(description);
  registering.catch(() => undefined);
  await asked.promise;
  connection.close();
  answer.resolve();
  await assert.rejects(registering, { code: 'cancelled' });
});
