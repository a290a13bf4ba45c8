/** What a runner asks of its coordinator when the way between them lets nothing through any more in one direction. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import { createCoordinatorRequests, overOneConnection } from './requests.ts';

const lease = { leaseMs: 15_000, heartbeatMs: 5_000, until: new Date(0).toISOString() };

/** Heard on connections that are open, and answers nobody, from `fall` on: as where answers are dropped on their way. */
async function startServer() {
  const open = new Set<Socket>();
  const heard: string[] = [];
  let mute = false;
  const server = http.createServer(async (request, response) => {
    heard.push(request.url ?? '');
    await request.toArray();
    if (!mute) response.end(JSON.stringify({ lease }));
  });
  server.on('connection', (socket) => (mute ? socket.destroy() : open.add(socket)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    open,
    heard,
    fall() {
      mute = true;
      heard.length = 0;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

test('a lease is asked for over one connection: unanswered, it is heard of once, however many were open', async () => {
  await using server = await startServer();
  const options = { url: server.url, tokens: { token: async () => 'own' }, timeoutMs: 200 };
  const requests = createCoordinatorRequests(options);
  const leases = createCoordinatorRequests({ ...options, send: overOneConnection(server.url) });
  const beat = () => leases.call('runner.heartbeat', { runnerId: 'one', registrationId: 'job_1', ended: [] });
  await Promise.all(
    Array.from({ length: 4 }, () => requests.bytes('agent.file.get', { tenant: 't', hash: 'h' })),
  );
  await beat();
  await beat();
  assert.equal(server.open.size, 5);
  server.fall();
  await assert.rejects(beat(), { code: 'timed_out' });
  await assert.rejects(beat(), { code: 'coordinator_unreachable' });
  await assert.rejects(beat(), { code: 'coordinator_unreachable' });
  assert.equal(server.heard.length, 1);
});
