import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type RequestListener, request } from 'node:http';
import { test } from 'node:test';
import { createFront } from './front.ts';

const report = {
  status: 'ok' as const,
  version: '0.0.0',
  uptimeMs: 1,
  sessions: 0,
  pool: { capacity: 0, reserved: 0, running: 0, idle: 0, warm: 0 },
};

function open() {
  const app = Promise.withResolvers<RequestListener>();
  const logged: string[] = [];
  const log = (_fields: unknown, message: string) => void logged.push(message);
  const front = createFront({
    healthPath: '/health',
    health: async () => report,
    app: () => app.promise,
    logger: { debug: log, info: log, warn: log, error: log },
  });
  return { front, app, logged };
}

test('health is answered before the app is there; a request waits for it, its body unread', async (t) => {
  const { front, app } = open();
  t.after(() => front.close());
  const url = await front.listen({ host: '127.0.0.1', port: 0 });
  const bytes = 8 * 1024 * 1024;

  const early = request(`${url}/upload`, { method: 'PUT' });
  early.end(Buffer.alloc(bytes));
  const [arrived] = (await once(front.server, 'request')) as Parameters<RequestListener>;

  const health = await fetch(`${url}/health`);
  assert.equal(health.headers.get('content-type'), 'application/json; charset=utf-8');
  assert.deepEqual(await health.json(), report);
  assert.ok(arrived.socket.bytesRead < bytes / 2, 'what nobody takes stays with the client');

  app.resolve(async (incoming, response) => {
    let taken = 0;
    for await (const chunk of incoming) taken += (chunk as Buffer).length;
    response.end(`${incoming.method} ${incoming.url} ${taken}`);
  });
  const [answer] = await once(early, 'response');
  assert.equal((await Array.fromAsync(answer)).join(''), `PUT /upload ${bytes}`);
  assert.equal(await (await fetch(`${url}/health?x=1`)).text(), 'GET /health?x=1 0', 'the app refuses it');
});

test('an answer that fails after its beginning breaks off', async (t) => {
  const { front, app, logged } = open();
  t.after(() => front.close());
  const url = await front.listen({ host: '127.0.0.1', port: 0 });
  app.resolve((_request, response) => {
    response.writeHead(200).write('the beginning');
    throw new Error('a secret reason');
  });
  const read = async () => (await fetch(url, { signal: AbortSignal.timeout(5000) })).text();
  await assert.rejects(read, TypeError);
  assert.deepEqual(logged, ['a request failed']);
});

test('when the app will never be there, who waits is told, and the reason is logged', async (t) => {
  const { front, app, logged } = open();
  t.after(() => front.close());
  const url = await front.listen({ host: '127.0.0.1', port: 0 });
  const early = fetch(`${url}/docs`);
  await once(front.server, 'request');
  app.reject(new Error('a secret reason'));
  const answer = await early;
  assert.deepEqual([answer.status, answer.headers.get('content-type')], [500, 'application/problem+json']);
  const problem = (await answer.json()) as { code: string };
  assert.equal(problem.code, 'internal');
  assert.doesNotMatch(JSON.stringify(problem), /secret/);
  assert.deepEqual(logged, ['a request failed']);
});

test('closing ends the connections of those who wait', async () => {
  const { front } = open();
  const url = await front.listen({ host: '127.0.0.1', port: 0 });
  const early = fetch(`${url}/docs`);
  await once(front.server, 'request');
  await Promise.all([front.close(), assert.rejects(early)]);
  await assert.rejects(fetch(`${url}/health`));
});

test('localhost is every address that it stands for; a taken port is told', async (t) => {
  const { front } = open();
  t.after(() => front.close());
  const url = new URL(await front.listen({ host: 'localhost', port: 0 }));
  const { lookup } = process.getBuiltinModule('node:dns/promises');
  for (const { address, family } of await lookup('localhost', { all: true })) {
    const host = family === 6 ? `[${address}]` : address;
    assert.equal((await fetch(`http://${host}:${url.port}/health`)).status, 200);
  }
  const { front: second } = open();
  const taken = second.listen({ host: url.hostname, port: Number(url.port) });
  await assert.rejects(taken, { code: 'EADDRINUSE' });
  await second.close();
});
