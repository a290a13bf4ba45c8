import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { createRunnerHttp } from './runner-http.ts';

const command = { method: 'exec', params: { command: 'x' } };

test('a runner whose commands all run is reached beside them', { timeout: 60_000 }, async () => {
  const server = createServer((request, response) => {
    request.resume();
    const streams = request.url?.endsWith('/commands');
    response.writeHead(200, { 'content-type': streams ? 'text/event-stream' : 'application/json' });
    if (streams) response.flushHeaders();
    else response.end('{"sandboxes":[]}');
  });
  server.listen(0, '127.0.0.1', 4096);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const http = createRunnerHttp({ address: `http://127.0.0.1:${port}`, token: 't' });
  try {
    for (let i = 0; i < 1_100; i += 100)
      await Promise.all(
        Array.from({ length: 100 }, (_, j) =>
          http.open('command.run', { sandboxId: 'sbx_1', epoch: 1, commandId: `cmd_${i + j}`, command }),
        ),
      );
    assert.deepEqual(await http.call('sandbox.list', {}, { again: false }), { sandboxes: [] });
    assert.equal(http.unreachedMs(), 0);
  } finally {
    http.close();
    server.closeAllConnections();
    server.close();
  }
});
