import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { createGateway, type Gateway } from './gateway.ts';

let gateway: Gateway;
const taken: [path: string, query: string][] = [];
before(async () => {
  gateway = await createGateway({
    where: { secretPath: '/s/secret' },
    rows: [
      {
        takes: (path) => path.startsWith('/known'),
        answer({ response, path, query }) {
          taken.push([path, query]);
          response.end('answered');
        },
      },
    ],
  });
});
after(async () => {
  await gateway.close();
});

/** Sends a request target as it is, which no URL parser would. */
function ask(path: string, headers: Record<string, string> = {}): Promise<number | undefined> {
  const { hostname, port } = new URL(gateway.address);
  return new Promise((resolve, reject) => {
    http
      .request({ hostname, port, path, headers, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
      .on('error', reject)
      .end();
  });
}

test('a plain path below the secret one is answered by the row that takes it', async () => {
  taken.length = 0;
  assert.equal(await ask('/s/secret/known/a.b-c_~@1'), 200);
  assert.equal(await ask('/s/secret/known?a=%2F..%2F&b=/../'), 200);
  assert.equal(await ask('/s/secret/known/?'), 200);
  assert.deepEqual(taken, [
    ['/known/a.b-c_~@1', ''],
    ['/known', '?a=%2F..%2F&b=/../'],
    ['/known/', '?'],
  ]);
  assert.equal(await ask('/s/secret/unknown'), 404);
});

test('who does not know the secret path, or comes by another name, gets nothing', async () => {
  taken.length = 0;
  for (const path of ['/known', '/s/guess/known', '/s/secretknown', '/s/secret', '/', '//s/secret/known'])
    assert.equal(await ask(path), 404, path);
  const { port } = new URL(gateway.address);
  for (const host of [
    'evil.example',
    `evil.example:${port}`,
    `localhost:${port}`,
    '127.0.0.1',
    '127.0.0.1:1',
  ])
    assert.equal(await ask('/s/secret/known', { host }), 400, host);
  assert.deepEqual(taken, []);
});

test('paths that could be read in two ways go nowhere', async () => {
  taken.length = 0;
  const tricks = [
    '//elsewhere/known',
    '/known//x',
    '/known/../x',
    '/known/..',
    '/known/..;/x',
    '/known/.;a=b',
    '/./known',
    '/known/.',
    '/%6bnown',
    '/known/%2e%2e/x',
    '/known/..%2fx',
    '/known%00',
    '/known\\..\\x',
    '/known#x',
  ];
  for (const path of tricks) {
    assert.equal(await ask(`/s/secret${path}`), 400, path);
  }
  for (const path of ['http://elsewhere/s/secret/known', '*']) assert.equal(await ask(path), 404, path);
  await assert.rejects(ask('elsewhere:80'), 'that is no request');
  assert.equal(await ask('/s/secret/known', { connection: 'upgrade', upgrade: 'WebSocket' }), 400);
  assert.deepEqual(taken, []);
});

test('a very long path is looked at in no time', async () => {
  const started = performance.now();
  assert.equal(await ask(`/s/secret/${'a'.repeat(8000)}%`), 400);
  assert.ok(performance.now() - started < 1000);
});

/** A listener, as a sandbox could have handed one over. */
async function listening(address: string): Promise<{ listener: net.Server; port: number }> {
  const listener = net.createServer().listen(0, address);
  await once(listener, 'listening');
  const bound = listener.address();
  assert.ok(typeof bound === 'object' && bound);
  return { listener, port: bound.port };
}

test('a listener that is handed over takes the place of the first one', async () => {
  const other = await createGateway({ where: { secretPath: '/s/x' }, rows: [] });
  const status = async (url: string) => (await fetch(url)).status;
  assert.equal(await status(`${other.address}/known`), 404);
  const { listener, port } = await listening('127.0.0.1');
  await other.listenOn(listener, port);
  await assert.rejects(fetch(`${other.address}/known`), 'nobody listens there any more');
  assert.equal(
    await status(`http://127.0.0.1:${port}/s/x/known`),
    400,
    'by another name than that of its address',
  );
  await other.close();
  await assert.rejects(fetch(`http://127.0.0.1:${port}/s/x/known`), 'it closes with the gateway');
});

test('what is no listener, or listens elsewhere, is refused, and the first one stays', async () => {
  const elsewhere = await listening('127.0.0.2');
  await assert.rejects(gateway.listenOn(elsewhere.listener, elsewhere.port), { code: 'sandbox_failed' });
  const wrong = await listening('127.0.0.1');
  await assert.rejects(gateway.listenOn(wrong.listener, wrong.port + 1), { code: 'sandbox_failed' });
  const socket = net.connect(Number(new URL(gateway.address).port), '127.0.0.1');
  await once(socket, 'connect');
  await assert.rejects(gateway.listenOn(socket, 1), { code: 'EINVAL' });
  socket.destroy();
  assert.equal(await ask('/s/secret/known'), 200);
});

test('a listener that comes after the end is closed', async () => {
  const other = await createGateway({ where: { secretPath: '/s/x' }, rows: [] });
  await other.close();
  const { listener, port } = await listening('127.0.0.1');
  await other.listenOn(listener, port);
  await assert.rejects(fetch(`http://127.0.0.1:${port}/`));
});
