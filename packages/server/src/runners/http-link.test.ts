import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { createHttpLink } from './http-link.ts';

const command = {
  sandboxId: 'sbx_1',
  epoch: 1,
  commandId: 'cmd_1',
  command: { method: 'exec' as const, params: { command: 'x' } },
};

/** A runner that answers each command with the next of these streams. */
async function openRunner(streams: string[]) {
  let asked = 0;
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(streams[asked++] ?? streams.at(-1));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const address = `http://127.0.0.1:${port}`;
  const link = createHttpLink({ runnerId: 'one', address, token: 't' });
  return {
    address,
    link,
    asked: () => asked,
    async [Symbol.asyncDispose]() {
      link.lost();
      server.closeAllConnections();
      server.close();
    },
  };
}

test('a runner that answers and says nothing is not asked without a pause', async () => {
  const end = 'id: 1\nevent: end\ndata: {"status":"completed"}\n\n';
  await using runner = await openRunner(['', '', end]);
  const began = performance.now();
  const events = await Array.fromAsync(runner.link.command(command));
  assert.deepEqual([events.map(({ kind }) => kind), runner.asked()], [['end'], 3]);
  assert.ok(performance.now() - began >= 250, `${performance.now() - began} ms`);
});

test('one connection serves commands one after the other, and one whose answer does not end is given up', {
  timeout: 10_000,
}, async () => {
  const end = 'id: 1\nevent: end\ndata: {"status":"completed"}\n\n';
  const connections = new Set<unknown>();
  const answers: ServerResponse[] = [];
  const server = createServer((request, response) => {
    connections.add(request.socket);
    request.resume();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(end);
    answers.push(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const link = createHttpLink({ runnerId: 'one', address: `http://127.0.0.1:${port}`, token: 't' });
  for (let i = 1; i <= 3; i++) {
    const events = await Array.fromAsync(link.command({ ...command, commandId: `cmd_${i}` }));
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['end'],
    );
    // Behind the last event, and later.
    if (i < 3) await new Promise<void>((resolve) => answers[i - 1]?.end(resolve));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(connections.size, 1);
  const [left] = answers.slice(-1);
  assert.ok(left);
  await once(left, 'close');
  link.lost();
  server.close();
});

test('a runner that is lost as an answer of it ends breaks nothing', { timeout: 30_000 }, async () => {
  const end = 'id: 1\nevent: end\ndata: {"status":"completed"}\n\n';
  await using runner = await openRunner([end]);
  for (let i = 0; i < 300; i++) {
    const link = createHttpLink({ runnerId: 'one', address: runner.address, token: 't' });
    const events = await Array.fromAsync(link.command({ ...command, commandId: `cmd_${i}` }));
    assert.equal(events.length, 1);
    if (i % 2 === 0) await new Promise(setImmediate);
    link.lost();
  }
});

test('what is no event fails the command, and is not asked for again', async () => {
  await using runner = await openRunner(['id: 1\nevent: log\ndata: {\n\n']);
  await assert.rejects(Array.fromAsync(runner.link.command(command)), { code: 'executor_failed' });
  assert.equal(runner.asked(), 1);
});

test('a snapshot of more than there can be is none', async () => {
  const taken = { root: 'a'.repeat(64), files: 1, sizeBytes: 1, skipped: { count: 0, first: [] } };
  await using runner = await openRunner([JSON.stringify({ ...taken, storedBytes: 1e300 })]);
  const request = { workspaceId: 'ses_1', tenant: 't', epoch: 1, base: null };
  await assert.rejects(runner.link.snapshot(request), { code: 'snapshot_failed' });
});
