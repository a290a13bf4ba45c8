import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { startBridgeUnderTest } from './bridge.fixture.ts';
import { forwardPort, type PortForward } from './port-forward.ts';

let directory: string;
let socketPath: string;
let gateway: Server;
let forward: PortForward;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'atoll-forward-'));
  socketPath = join(directory, 'gateway.sock');
  // Answers only after the client ended its half, with how much it sent.
  gateway = createServer({ allowHalfOpen: true }, (socket) => {
    let bytes = 0;
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      bytes += chunk.length;
      if (chunk.toString().startsWith('break')) socket.destroy();
    });
    socket.on('end', () => socket.end(`got ${bytes}`));
  }).listen(socketPath);
  await once(gateway, 'listening');
  forward = await forwardPort({ port: 0, socketPath });
});
after(async () => {
  forward.close();
  gateway.close();
  await rm(directory, { recursive: true, force: true });
});

async function client(port: number = forward.port): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
}

async function textOf(socket: Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket) text += chunk;
  socket.destroy();
  return text;
}

it('pipes both ways, and a half-close is one', async () => {
  const socket = await client();
  socket.end(Buffer.alloc(3_000_000, 'x'));
  assert.equal(await textOf(socket), 'got 3000000');
});

it('contains the failure of one connection', async () => {
  const broken = connect({ port: forward.port, host: '127.0.0.1' });
  broken.on('error', () => undefined);
  broken.write('break');
  await once(broken.resume(), 'close');
  const socket = await client();
  socket.end('hello');
  assert.equal(await textOf(socket), 'got 5');
});

it('closes a connection when the gateway is not there', async () => {
  const dangling = await forwardPort({ port: 0, socketPath: join(directory, 'nobody.sock') });
  const socket = connect({ port: dangling.port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  await once(socket.resume(), 'close');
  dangling.close();
});

it('is open before anything runs in a sandbox, and says when it cannot be', async () => {
  const executor = { kind: 'program', command: ['cat'] } as const;
  const busy = { ATOLL_GATEWAY_SOCKET: socketPath, ATOLL_GATEWAY_PORT: String(forward.port) };
  await using refused = await startBridgeUnderTest({ env: busy });
  await refused.initialize(executor);
  await assert.rejects(refused.query('go'), { code: 'sandbox_failed' });
  const program = { execId: 'a', command: 'true' };
  await assert.rejects(refused.peer.call('exec', program), { code: 'sandbox_failed' });
  const spare = await forwardPort({ port: 0, socketPath });
  spare.close();
  await using bridge = await startBridgeUnderTest({
    env: { ...busy, ATOLL_GATEWAY_PORT: String(spare.port) },
  });
  await bridge.initialize(executor);
  await bridge.peer.call('exec', program);
  const socket = await client(spare.port);
  socket.end('hello');
  assert.equal(await textOf(socket), 'got 5');
});
