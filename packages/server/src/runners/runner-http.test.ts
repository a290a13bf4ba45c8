import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { createRunnerHttp } from './runner-http.ts';

const command = { method: 'exec', params: { command: 'x' } };

async function listen(answer: RequestListener) {
  const server = createServer(answer);
  server.listen(0, '127.0.0.1', 4096);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const http = createRunnerHttp({ address: `http://127.0.0.1:${port}`, token: 't' });
  return {
    http,
    [Symbol.dispose]() {
      http.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

test('a runner whose commands all run is reached beside them', { timeout: 60_000 }, async () => {
  using runner = await listen((request, response) => {
    request.resume();
    const streams = request.url?.endsWith('/commands');
    response.writeHead(200, { 'content-type': streams ? 'text/event-stream' : 'application/json' });
    if (streams) response.flushHeaders();
    else response.end('{"sandboxes":[]}');
  });
  const { http } = runner;
  for (let i = 0; i < 1_100; i += 100)
    await Promise.all(
      Array.from({ length: 100 }, (_, j) =>
        http.open('command.run', { sandboxId: 'sbx_1', epoch: 1, commandId: `cmd_${i + j}`, command }),
      ),
    );
  assert.deepEqual(await http.call('sandbox.list', {}, { again: false }), { sandboxes: [] });
  assert.equal(http.unreachedMs(), 0);
});

test('hints before the answer are not the answer, and an answer that stays away is given up', {
  timeout: 30_000,
}, async () => {
  using runner = await listen((request, response) => {
    request.resume();
    if (request.url?.endsWith('/health')) return;
    response.writeEarlyHints({ link: '</x>; rel=preload' }, () => response.end('{"sandboxes":[]}'));
  });
  const { http } = runner;
  assert.deepEqual(await http.call('sandbox.list', {}), { sandboxes: [] });
  await assert.rejects(http.open('health.show', {}), {
    code: 'runner_unreachable',
    message: /cannot be reached: no answer/,
  });
  assert.ok(http.unreachedMs() > 0);
});

test('whoever waits for a runner that is lost hears it, whatever has come by then', async () => {
  using runner = await listen((request, response) => {
    request.resume();
    if (request.url?.endsWith('/commands')) response.write('half');
  });
  const { http } = runner;
  const command = {
    sandboxId: 'sbx_1',
    epoch: 1,
    commandId: 'cmd_1',
    command: { method: 'exec', params: {} },
  };
  const answer = await http.open('command.run', command);
  const heard = Promise.allSettled([Array.fromAsync(answer), http.call('sandbox.list', {})]);
  http.close();
  for (const each of await heard) assert.equal(each.status === 'rejected' && each.reason.code, 'runner_lost');
  await assert.rejects(http.call('sandbox.list', {}), { code: 'runner_lost' });
});
