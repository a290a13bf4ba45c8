/** How calls go on and answers come back, whatever the row: as streams, cut where they were cut, without the secret. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { connect, Socket } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { createGateway, type Gateway } from './gateway.ts';
import { createRelay } from './relay.ts';
import { ask, startUpstream, textOf, type Upstream } from './upstream.fixture.ts';

const SECRETS = ['the-secret-value', Buffer.from('user:the-secret-value').toString('base64')];
const MASK = '[removed by Atoll]';
let upstream: Upstream;
let gateway: Gateway;
const relay = createRelay();
const watched: string[] = [];

before(async () => {
  upstream = await startUpstream();
  const base = new URL(upstream.url);
  gateway = await createGateway({
    where: { secretPath: '/s/x' },
    rows: [
      {
        takes: () => true,
        answer: (call) =>
          relay.send(call, {
            base,
            path: call.path,
            headers: { authorization: `Bearer ${SECRETS[0]}` },
            secrets: SECRETS,
            watch: {
              sent: (bytes) => void watched.push(`sent ${bytes}`),
              answered: (status) => void watched.push(`answered ${status}`),
              received: (chunk) => void watched.push(`received ${chunk}`),
              ended: () => void watched.push('ended'),
            },
            onFailure: (kind, reason) => void call.response.writeHead(502).end(`${kind} ${reason}`),
          }),
      },
    ],
  });
});
after(async () => {
  await gateway.close();
  relay.close();
  await upstream[Symbol.asyncDispose]();
});
beforeEach(() => {
  watched.length = 0;
});

test('an upstream that echoes what it got gives nothing away, however it is cut', async () => {
  upstream.respond = (_request, response, { headers }) => {
    response.writeHead(401, {
      'x-echo': String(headers.authorization),
      'www-authenticate': [`Basic ${SECRETS[1]}`, 'Bearer'],
    });
    for (const each of JSON.stringify({ headers, basic: SECRETS[1] })) response.write(each);
    response.end();
  };
  const answer = await ask(gateway, 'GET', '/echo');
  const text = await textOf(answer);
  assert.equal(answer.statusCode, 401);
  assert.equal(answer.headers['x-echo'], `Bearer ${MASK}`);
  assert.equal(answer.headers['www-authenticate'], `Basic ${MASK}, Bearer`);
  const echoed = JSON.parse(text);
  assert.deepEqual([echoed.headers.authorization, echoed.basic], [`Bearer ${MASK}`, MASK]);
});

test('what comes compressed though nobody asked for it goes no further', async () => {
  for (const encoding of [{ 'content-encoding': 'gzip' }, { 'transfer-encoding': 'gzip, chunked' }]) {
    upstream.respond = (_request, response, { headers }) => {
      assert.equal(headers['accept-encoding'], 'identity');
      response.writeHead(200, encoding).end(gzipSync(String(headers.authorization)));
    };
    const answer = await ask(gateway, 'GET', '/zip', '', { 'accept-encoding': 'gzip' });
    assert.equal(answer.statusCode, 502);
    assert.match(await textOf(answer), /^encoded gzip/);
  }
});

test('an answer that is none, or another protocol, harms nobody', { timeout: 10_000 }, async () => {
  for (const head of ['000 X', '099 X', '101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade']) {
    upstream.respond = ({ socket }) => void socket.end(`HTTP/1.1 ${head}\r\nContent-Length: 2\r\n\r\nok`);
    const answer = await ask(gateway, 'GET', '/odd');
    assert.deepEqual([answer.statusCode, (await textOf(answer)).split(' ')[0]], [502, 'unreachable'], head);
  }
});

/** All that the gateway says to these bytes, and then it closes. */
async function said(bytes: string): Promise<string> {
  const { hostname, port } = new URL(gateway.address);
  const socket = connect(Number(port), hostname).on('error', () => undefined);
  socket.write(bytes);
  return Buffer.concat(await socket.toArray()).toString('latin1');
}

const CHUNKED = 'Transfer-Encoding: chunked';
const HIDDEN = '0\r\n\r\nGET /s/x/hidden HTTP/1.1\r\nHost: x\r\n\r\n';

for (const [what, headers, body] of [
  ['two lengths', 'Content-Length: 4\r\nContent-Length: 5', 'x=123'],
  ['a length of two', 'Content-Length: 4, 5', 'x=123'],
  ['a length and chunks', `Content-Length: 5\r\n${CHUNKED}`, HIDDEN],
  ['chunks and a length', `${CHUNKED}\r\nContent-Length: 5`, HIDDEN],
  ['chunks that are none', 'Transfer-Encoding: xchunked', HIDDEN],
  ['chunks that are not last', 'Transfer-Encoding: chunked, gzip', HIDDEN],
  ['a folded header', `X-A: b\r\n ${CHUNKED}`, HIDDEN],
  ['a space before the colon', 'Transfer-Encoding : chunked', HIDDEN],
  ['a bare line end', 'X-A: b\nTransfer-Encoding: chunked', HIDDEN],
  ['a bare carriage return', 'X-A: b\rTransfer-Encoding: chunked', HIDDEN],
  ['a length with a sign', 'Content-Length: +5', 'x=123'],
  ['a chunk with a sign', CHUNKED, `-${HIDDEN}`],
  ['headers without end', `X-A: ${'b'.repeat(20_000)}`, ''],
  ['a NUL', 'X-A: a\0b', ''],
] as const)
  test(`a request that two servers could read in two ways goes no further: ${what}`, async () => {
    const { host } = new URL(gateway.address);
    const before = upstream.seen.length;
    await said(`POST /s/x/a HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${headers}\r\n\r\n${body}`);
    assert.deepEqual(upstream.seen.slice(before), []);
  });

test('other protocols and odd methods are requests, or nothing', { timeout: 10_000 }, async () => {
  const { host } = new URL(gateway.address);
  const last = `Host: ${host}\r\nConnection: close`;
  const before = upstream.seen.length;
  upstream.respond = (_request, response) => void response.end('there');
  const h2c = `Host: ${host}\r\nConnection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk`;
  assert.match(await said(`GET /s/x/h2c HTTP/1.1\r\n${h2c}\r\n\r\n`), /^HTTP\/1.1 200/);
  assert.match(
    await said(`POST /s/x/e HTTP/1.1\r\n${last}\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx`),
    /^HTTP\/1.1 100 .*\r\n\r\nHTTP\/1.1 200/,
  );
  assert.match(await said(`POST /s/x/e HTTP/1.1\r\n${last}\r\nExpect: more\r\n\r\n`), /^HTTP\/1.1 417/);
  for (const method of ['OPTIONS', 'TRACE'])
    assert.match(await said(`${method} /s/x/a HTTP/1.1\r\n${last}\r\n\r\n`), /^HTTP\/1.1 200/);
  assert.doesNotMatch(await said(`HEAD /s/x/a HTTP/1.1\r\n${last}\r\n\r\n`), /there/);
  assert.match(await said(`OPTIONS * HTTP/1.1\r\n${last}\r\n\r\n`), /^HTTP\/1.1 404/);
  for (const line of ['PRI * HTTP/2.0', 'CONNECT  HTTP/1.1', 'GET /s/x/a HTTP/1.1 x'])
    assert.doesNotMatch(await said(`${line}\r\n${last}\r\n\r\n`), /^HTTP\/1.1 2/);
  const went = upstream.seen.slice(before);
  assert.deepEqual(
    went.map(({ method }) => method),
    ['GET', 'POST', 'OPTIONS', 'TRACE', 'HEAD'],
  );
  for (const { headers } of went)
    for (const name of ['upgrade', 'http2-settings', 'expect']) assert.equal(headers[name], undefined, name);
});

test('a redirect is passed on, and nobody follows it', async () => {
  const before = upstream.seen.length;
  upstream.respond = (_request, response) =>
    void response.writeHead(307, { location: `${upstream.url}/elsewhere?k=${SECRETS[0]}` }).end();
  const answer = await ask(gateway, 'POST', '/here', 'body');
  await textOf(answer);
  assert.equal(answer.statusCode, 307);
  assert.equal(answer.headers.location, `${upstream.url}/elsewhere?k=${MASK}`);
  assert.equal(upstream.seen.length, before + 1);
});

test('an answer that is cut off ends cut off', async () => {
  for (const framing of [{}, { 'content-length': '1000' }] as Record<string, string>[]) {
    upstream.respond = (_request, response) => {
      response.writeHead(200, framing).write('the first half');
      response.socket?.end();
    };
    const answer = await ask(gateway, 'GET', '/cut');
    await assert.rejects(textOf(answer), { code: 'ECONNRESET' });
    assert.equal(answer.complete, false);
  }
});

test('a caller that leaves takes the call with it', async () => {
  const left = Promise.withResolvers<void>();
  upstream.respond = (_request, response) => {
    response.on('close', left.resolve);
    response.writeHead(200).write('begun');
  };
  const answer = await ask(gateway, 'POST', '/leave', 'asked');
  await once(answer, 'data');
  answer.destroy();
  await left.promise;
  assert.deepEqual(watched.slice(watched.indexOf('sent 5')), [
    'sent 5',
    'answered 200',
    'received begun',
    'ended',
  ]);
});

test('a caller that left before its call went on is forgotten', async () => {
  upstream.respond = (_request, response) => void response.end();
  const before = upstream.seen.length;
  const request = new http.IncomingMessage(new Socket());
  const response = new http.ServerResponse(request);
  response.destroy();
  await once(response, 'close');
  const refuse = () => assert.fail('nobody is there to be told');
  const base = new URL(upstream.url);
  const call = { request, response, path: '/', query: '' };
  relay.send(call, { base, path: '/', headers: {}, secrets: [], onFailure: refuse });
  await ask(gateway, 'GET', '/after').then(textOf);
  assert.equal(upstream.seen.length, before + 1);
});

test('who reads slowly slows the upstream', async () => {
  const chunk = Buffer.alloc(64 * 1024);
  let written = 0;
  upstream.respond = (_request, response) => {
    const fill = (): void => {
      do written++;
      while (response.write(chunk) && written < 1000);
      if (written < 1000) response.once('drain', fill);
    };
    fill();
  };
  const answer = await ask(gateway, 'GET', '/flood');
  await once(answer, 'readable');
  for (let before = -1; before !== written; await delay(50)) before = written;
  assert.ok(written < 500, `${written} chunks of 64 KiB were taken`);
  answer.destroy();
});
