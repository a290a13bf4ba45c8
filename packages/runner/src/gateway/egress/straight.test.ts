/** Long bodies of plain HTTP, which go around the parser: byte for byte, counted, and not one byte more. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { after, afterEach, before, test } from 'node:test';
import { bearer, openEgress, type TestEgress } from './egress.fixture.ts';

const PUBLIC = '93.184.216.34';
const host = 'one.example';
const headers = { host };
const body = randomBytes(12 * 1024 * 1024);
const text = body.toString('latin1');
const SECRET = 'secret-of-main';

let egress: TestEgress;
let connections = 0;
before(async () => {
  egress = await openEgress({ allowed: [host], names: { [host]: [[PUBLIC]] } });
  await egress.http(PUBLIC, ({ url, socket, method }, response) => {
    if (!known.has(socket)) connections++;
    known.add(socket);
    if (url === '/short') return response.end('short');
    const head = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`;
    const raw = (rest: Buffer) => socket.end(Buffer.concat([Buffer.from(head), rest]));
    if (url === '/cut') return raw(body.subarray(0, -1));
    if (url === '/more') return raw(Buffer.concat([body, Buffer.from('HTTP/1.1 200 OK\r\n\r\nmore')]));
    if (url === '/secret') return response.end(Buffer.concat([body, Buffer.from(SECRET), body]));
    if (url !== '/chunked') response.setHeader('content-length', body.length);
    if (method === 'HEAD') return response.end();
    for (let at = 0; at < body.length; at += 300_000) response.write(body.subarray(at, at + 300_000));
    response.end();
  });
});
const known = new WeakSet<Socket>();
after(() => egress.close());
afterEach(() => {
  egress.records.length = 0;
  egress.setCredentials([]);
  connections = 0;
});

const get = (path: string, init = {}) => egress.ask(`http://${host}${path}`, { headers, ...init });

test('a long body is the same at the other end, and counted, with a length and without', async () => {
  for (const path of ['/long', '/chunked']) {
    const reply = await get(path);
    assert.equal(reply.status, 200);
    assert.ok(reply.text === text, path);
  }
  assert.deepEqual((await get('/long', { method: 'HEAD' })).headers['content-length'], String(body.length));
  assert.deepEqual(
    (await egress.told(3)).map(({ status, receivedBytes }) => [status, receivedBytes]),
    [
      [200, body.length],
      [200, body.length],
      [200, 0],
    ],
  );
});

test('a client that takes its time gets it all the same', async () => {
  const { hostname, port } = new URL(egress.address);
  const request = http.request({ hostname, port, path: `http://${host}/long`, headers, agent: false }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) {
    chunks.push(chunk);
    for (let turns = 0; turns < 3; turns++) await new Promise(setImmediate);
  }
  assert.ok(Buffer.concat(chunks).equals(body));
});

test('requests of one tunnel follow each other, whatever the length of their answers', async () => {
  const socket = await egress.tunnel(`${host}:80`);
  const within = egress.within(socket);
  for (const path of ['/short', '/long', '/short', '/long', '/more', '/short']) {
    const reply = await within(path, { headers });
    assert.ok(reply.text === (path === '/short' ? 'short' : text), path);
  }
  assert.equal(connections, 4, 'a connection is used until a long answer, and not after it');
  socket.destroy();
});

test('a body that is cut is cut for the client, too', async () => {
  await assert.rejects(get('/cut'), { code: 'ECONNRESET' });
  assert.deepEqual((await egress.told(1))[0]?.receivedBytes, body.length - 1);
});

test('a client that leaves takes its request along', async () => {
  const { hostname, port } = new URL(egress.address);
  const request = http.request({ hostname, port, path: `http://${host}/long`, headers, agent: false }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.destroy();
  const [{ receivedBytes } = assert.fail()] = await egress.told(1);
  assert.ok(receivedBytes < body.length);
});

test('a host that a credential is for is looked through, however long its answer', async () => {
  egress.setCredentials([bearer('main', [host])]);
  const reply = await get('/secret');
  assert.ok(reply.text === `${text}[removed by Atoll]${text}`);
});
