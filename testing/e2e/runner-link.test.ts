/** One contract suite over every link to a runner, each with a real runner and its bubblewrap sandboxes. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeBridge } from '@atoll/bridge/install';
import { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import type { SandboxEnded, SnapshotBlobs } from '@atoll/protocol/runner-link';
import { runnerOperations } from '@atoll/protocol/runner-operations';
import { createBubblewrapDriver, createRunner } from '@atoll/runner';
import { readProfiles } from '@atoll/runner/executor-profiles';
import { createGrpcCoordinator, createGrpcService } from '@atoll/runner/grpc';
import { createHeldLink } from '@atoll/runner/held-link';
import { createRunnerHandlers } from '@atoll/runner/http-handlers';
import { access } from '@atoll/server/access';
import { createApp } from '@atoll/server/app';
import { createFront } from '@atoll/server/front';
import type { RemoteLink } from '@atoll/server/grpc-server';
import { createHttpLink } from '@atoll/server/http-link';
import { description, dial, silent, startGrpcCoordinator } from '../grpc-pair.ts';
import { runnerLinkContract } from '../runner-link.contract.ts';

const TOKEN = 'the-callback-token-of-a-test';

runnerLinkContract('local', async () => {
  const { runner, dispose } = await openRunner();
  const ended: SandboxEnded[] = [];
  runner.link.onSandboxEnded((each) => void ended.push(each));
  return { link: runner.link, ended: async () => ended, [Symbol.asyncDispose]: dispose };
});

runnerLinkContract('http', async () => {
  const { runner, dispose } = await openRunner();
  const held = createHeldLink(runner.link);
  const health = async () => assert.fail('nobody asks for its health');
  const front = createFront({
    healthPath: '/runner/health',
    health,
    app: async () => app.handle,
    logger: silent,
  });
  const app = await createApp({
    server: front.server,
    title: 'Atoll runner',
    operations: runnerOperations,
    handlers: createRunnerHandlers({ link: held, health }),
    async recognise(secret) {
      if (secret !== TOKEN) throw new AtollError('unauthorized');
      return access('default', 'admin');
    },
    version: '0',
    logger: silent,
  });
  const wire = await cuttable(await front.listen({ host: '127.0.0.1', port: 0 }));
  const link = createHttpLink({ runnerId: 'run_test', address: wire.url, token: TOKEN });
  return {
    link,
    ended: async () => held.ended(),
    remote: { cut: wire.cut, lose: link.lost },
    async [Symbol.asyncDispose]() {
      link.lost();
      wire.close();
      await front.close();
      await app.close();
      await dispose();
    },
  };
});

runnerLinkContract('grpc', async () => {
  const dialled = Promise.withResolvers<RemoteLink>();
  const lease = { leaseMs: 15_000, heartbeatMs: 5_000, until: new Date().toISOString() };
  const server = await startGrpcCoordinator({
    registrations: {
      async register(_access, _asked, link) {
        assert.ok(link);
        dialled.resolve(link);
        return { registrationId: newId('job'), lease };
      },
      heartbeat: async () => ({ lease }),
      deregister: async () => ({ sandboxes: 0 }),
    },
    async recognise(secret) {
      if (secret !== TOKEN) throw new AtollError('unauthorized');
      return access('t', 'runner');
    },
    snapshots: blobsInMemory(),
  });
  const wire = await cuttable(server.url);
  const tokens = { token: async () => TOKEN };
  const connection = dial(wire.url.replace('http', 'grpc'), tokens.token);
  const coordinator = createGrpcCoordinator({ connection, tokens, logger: silent });
  const { runner, dispose } = await openRunner(coordinator.snapshots);
  const link = createHeldLink(runner.link);
  connection.serve(createGrpcService({ link, logger: silent }));
  await connection.requests.register({ ...description, drivers: ['bubblewrap'] });
  const remote = await dialled.promise;
  return {
    link: remote,
    ended: async () => link.ended(),
    remote: { cut: wire.cut, lose: remote.lost },
    async [Symbol.asyncDispose]() {
      remote.lost();
      connection.close();
      await server[Symbol.asyncDispose]();
      wire.close();
      await dispose();
    },
  };
});

async function openRunner(snapshots: SnapshotBlobs = blobsInMemory()) {
  const dataDir = await mkdtemp(join(tmpdir(), 'atoll-link-'));
  const runner = await createRunner({
    dataDir: join(dataDir, 'runner'),
    runnerId: 'run_test',
    driver: createBubblewrapDriver({ dataDir: join(dataDir, 'runner') }),
    capacity: 4,
    bridge: async () => describeBridge(),
    coordinator: {
      agents: {
        manifest: async () => assert.fail('no agent was asked for'),
        file: async () => assert.fail('no file was asked for'),
      },
      snapshots,
      url: 'http://127.0.0.1:1',
      sessionToken: async () => assert.fail('no token was asked for'),
      credentials: async () => [],
      recordAccess: async () => undefined,
      modelUse: async () => assert.fail('nothing was spent'),
    },
    hostname: 'here',
    upstreams: {},
    profiles: readProfiles({}),
    log: silent,
  });
  const dispose = async () => {
    await runner.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
  return { runner, dispose };
}

function blobsInMemory(): SnapshotBlobs {
  const blobs = new Map<string, Uint8Array>();
  return {
    async put({ content }) {
      const hash = createHash('sha256').update(content).digest('hex');
      blobs.set(hash, Uint8Array.from(content));
      return hash;
    },
    async get({ hash }) {
      const blob = blobs.get(hash);
      if (!blob) throw new AtollError('not_found', `no blob ${hash}`);
      // Whoever asks may do with it what it likes.
      return Uint8Array.from(blob);
    },
  };
}

/** A relay whose connections can be broken at any moment, in the middle of whatever they carry. */
async function cuttable(target: string) {
  const { hostname, port } = new URL(target);
  const sockets = new Set<net.Socket>();
  const relay = net.createServer((near) => {
    const far = net.connect({ host: hostname, port: Number(port) });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far).pipe(near);
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    url: `http://127.0.0.1:${(relay.address() as net.AddressInfo).port}`,
    cut,
    close() {
      relay.close();
      cut();
    },
  };
}
