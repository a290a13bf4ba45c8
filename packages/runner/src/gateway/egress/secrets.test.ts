/** Hosts that a credential is for: their TLS ends in the gateway, and what the agent never has is added there. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http';
import { after, afterEach, before, test } from 'node:test';
import tls from 'node:tls';
import { gzipSync } from 'node:zlib';
import { createSessionAuthority } from './certificates.ts';
import { bearer, openEgress, type TestEgress } from './egress.fixture.ts';

const PUBLIC = '93.184.216.34';
const OTHER = '93.184.216.35';
const SECRET = 'secret-of-main';
const MASK = '[removed by Atoll]';

type Seen = { method: string; url: string; headers: IncomingHttpHeaders; body: string };
const seen: Seen[] = [];

let egress: TestEgress;
before(async () => {
  egress = await openEgress({
    allowed: ['git.example', 'plain.example', 'lying.example', '10.0.0.5', 'second.example'],
    names: {
      'git.example': [[PUBLIC]],
      'second.example': [[PUBLIC]],
      'plain.example': [[OTHER]],
      'lying.example': [['93.184.216.36']],
    },
  });
  await egress.https(PUBLIC, 'git.example', async (request, response) => {
    const { method = '', url = '', headers } = request;
    const body = Buffer.concat(await request.toArray()).toString();
    seen.push({ method, url, headers, body });
    if (url.startsWith('/status/'))
      return request.socket.end(`HTTP/1.1 ${url.slice(8)} X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx`);
    if (url === '/gzip') return response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(SECRET));
    if (url === '/stream') {
      response.write(`one ${SECRET.slice(0, 5)}`);
      return setTimeout(() => response.end(`${SECRET.slice(5)} two`), 20);
    }
    response.setHeader('x-echo', String(headers.authorization));
    response.setHeader('content-length', Buffer.byteLength(`said ${headers.authorization}`));
    response.end(`said ${headers.authorization}`);
  });
  await egress.http(PUBLIC, ({ url = '', headers }, response) => {
    seen.push({ method: 'GET', url, headers, body: '' });
    response.end(`plain ${SECRET}`);
  });
  await egress.https('10.0.0.5', '10.0.0.5', ({ headers }, response) => response.end(headers.authorization));
  await egress.https(OTHER, 'plain.example', (_request, response) => response.end(`blind ${SECRET}`));
  // Its certificate is nobody's that the runner trusts.
  const stranger = await createSessionAuthority();
  await egress.https('93.184.216.36', 'lying.example', (_request, response) => response.end('lie'), stranger);
});
after(() => egress.close());
afterEach(() => {
  egress.records.length = 0;
  seen.length = 0;
  egress.setCredentials([]);
});

async function ask(
  path: string,
  init: { method?: string; headers?: Record<string, string>; body?: string } = {},
) {
  const told = egress.records.length;
  const socket = await egress.secure('git.example:443', 'git.example');
  const reply = await egress.within(socket)(path, {
    ...init,
    headers: { host: 'git.example', ...init.headers },
  });
  socket.destroy();
  await egress.told(told + 1);
  return reply;
}

test('a credential is added, in the place of the agent’s own, and taken out of the answer', async () => {
  egress.setCredentials([bearer('main', ['git.example'])]);
  const reply = await ask('/a?b', {
    method: 'PUT',
    body: 'x',
    headers: { authorization: 'Bearer mine', 'x-own': '1', 'accept-encoding': 'gzip' },
  });
  assert.deepEqual(
    [reply.status, reply.text, reply.headers['x-echo']],
    [200, `said Bearer ${MASK}`, `Bearer ${MASK}`],
  );
  const [{ method, url, headers, body } = assert.fail()] = seen;
  assert.deepEqual([method, url, body], ['PUT', '/a?b', 'x']);
  assert.deepEqual(
    [headers.authorization, headers['x-own'], headers.host, headers['accept-encoding']],
    [`Bearer ${SECRET}`, '1', 'git.example', 'identity'],
  );
  const [{ credential, decision, status, host, port, sentBytes } = assert.fail()] = await egress.told(1);
  assert.deepEqual(
    [credential, decision, status, host, port, sentBytes],
    ['main', 'allowed', 200, 'git.example', 443, 1],
  );
  assert.ok(!JSON.stringify(egress.records).includes(SECRET));
});

test('what arrives in pieces goes on in pieces, clean', async () => {
  egress.setCredentials([bearer('main', ['git.example'])]);
  assert.equal((await ask('/stream')).text, `one ${MASK} two`);
});

test('a credential that is deleted or replaced during an answer is taken out of it to its end', async () => {
  for (const next of [[], [bearer('other', ['git.example'])]]) {
    egress.setCredentials([bearer('main', ['git.example'])]);
    seen.length = 0;
    const reply = ask('/stream');
    while (seen.length === 0) await new Promise(setImmediate);
    egress.setCredentials(next);
    assert.equal((await reply).text, `one ${MASK} two`);
  }
});

test('outside of its methods and paths, and of paths that can be read in two ways, a request goes without', async () => {
  const bounds = { methods: ['GET'], paths: ['/acme'] };
  egress.setCredentials([bearer('main', ['git.example'], bounds)]);
  const authorization = async (path: string, method = 'GET') => {
    await ask(path, {
      method,
      headers: {
        authorization: 'own',
        'x-http-method-override': 'DELETE',
        'x-original-url': '/other',
        x_original_url: '/other',
        range: 'bytes=0-9',
      },
    });
    return seen.pop() ?? assert.fail();
  };
  for (const path of ['/acme', '/acme/', '/acme/x?y=/../z', '/acme?x']) {
    const { headers } = await authorization(path);
    assert.equal(headers.authorization, `Bearer ${SECRET}`, path);
    for (const name of ['x-http-method-override', 'x-original-url', 'x_original_url'])
      assert.equal(headers[name], undefined, name);
  }
  const without = [
    '/',
    '/acme-2',
    '/acm',
    '/other',
    '/%61cme',
    '/acme/../other',
    '/acme/..',
    '/acme/./x',
    '/acme/%2e%2e/other',
    '/acme/..%2fother',
    '/acme//x',
    '/acme/..;/other',
    '/acme/..%3b/other',
    '/acme/%c0%ae%c0%ae/other',
    '/acme/%u002e%u002e/other',
    '/acme/%',
    '/acme/%252e%252e/x',
    '/acme/%5c..%5c',
    '//acme',
  ];
  for (const path of without) {
    const { headers } = await authorization(path);
    assert.deepEqual([headers.authorization, headers.range], ['own', undefined], path);
  }
  assert.equal((await authorization('/acme', 'POST')).headers.authorization, 'own');
  assert.ok(
    egress.records.every(
      ({ credential, decision }, at) => decision === 'allowed' && (credential === 'main') === at < 4,
    ),
  );
});

test('of several credentials the closest is added', async () => {
  egress.setCredentials([
    bearer('wide', ['*.example']),
    bearer('deep', ['git.example'], { paths: ['/a/b'] }),
    bearer('host', ['git.example'], { paths: ['/a'] }),
    bearer('exact', ['git.example']),
  ]);
  const used: (string | undefined)[] = [];
  for (const path of ['/a/b/c', '/a/c', '/c']) {
    await ask(path);
    used.push(seen.pop()?.headers.authorization);
  }
  assert.deepEqual(
    used,
    ['deep', 'host', 'exact'].map((name) => `Bearer secret-of-${name}`),
  );
});

test('a credential that is set or deleted counts from the next request on', async () => {
  egress.setCredentials([bearer('main', ['git.example'])]);
  const socket = await egress.secure('git.example:443', 'git.example');
  const within = egress.within(socket);
  const headers = { host: 'git.example' };
  await within('/one', { headers });
  egress.setCredentials([]);
  await within('/two', { headers });
  assert.deepEqual(
    seen.map((each) => each.headers.authorization),
    [`Bearer ${SECRET}`, undefined],
  );
  socket.destroy();
  await egress.told(2);
});

test('an address that is listed can have a credential, too', async () => {
  egress.setCredentials([bearer('main', ['10.0.0.5'])]);
  const socket = await egress.tunnel('10.0.0.5:443');
  const secure = tls.connect({ socket, host: '10.0.0.5', ca: [egress.authority.certificate] });
  await once(secure, 'secureConnect');
  const reply = await egress.within(secure)('/', { headers: { host: '10.0.0.5' } });
  assert.equal(reply.text, `Bearer ${MASK}`);
  secure.destroy();
  await egress.told(1);
});

test('plain HTTP gets no credential, and gives none back', async () => {
  egress.setCredentials([bearer('main', ['git.example'])]);
  const reply = await egress.ask('http://git.example/x', { headers: { host: 'git.example' } });
  assert.equal(reply.text, `plain ${MASK}`);
  assert.equal(seen[0]?.headers.authorization, undefined);
  assert.equal((await egress.told(1))[0]?.credential, undefined);
});

test('other hosts keep their own TLS', async () => {
  egress.setCredentials([bearer('main', ['git.example'])]);
  const socket = await egress.tunnel('plain.example:443');
  const secure = tls.connect({ socket, servername: 'plain.example', ca: [egress.authority.certificate] });
  const [error] = await once(secure, 'error');
  assert.match(String(error), /verify|self-signed/);
  const blind = await egress.secure('plain.example:443', 'plain.example');
  assert.equal(
    (await egress.within(blind)('/', { headers: { host: 'plain.example' } })).text,
    `blind ${SECRET}`,
  );
  blind.destroy();
  await egress.told(2);
});

test('nothing is sent to who has no valid certificate', async () => {
  egress.setCredentials([bearer('main', ['lying.example', 'second.example'])]);
  for (const host of ['lying.example', 'second.example']) {
    const socket = await egress.secure(`${host}:443`, host);
    const reply = await egress.within(socket)('/', { headers: { host } });
    assert.equal(reply.status, 502);
    assert.match(reply.text, /egress_unreachable.*(UNABLE_TO_VERIFY|ALTNAME|SELF_SIGNED)/);
    socket.destroy();
  }
  assert.deepEqual(seen, []);
  const records = await egress.told(2);
  assert.ok(records.every(({ code }) => code === 'egress_unreachable'));
});

test('another Host, another name in TLS, another protocol and whole URLs are refused inside, too', async () => {
  egress.setCredentials([bearer('main', ['git.example'])]);
  const status = async (path: string, headers: Record<string, string>) =>
    (await ask(path, { headers })).status;
  assert.equal(await status('/', { host: 'second.example' }), 403);
  assert.equal(await status('/', { host: 'git.example:80' }), 403);
  assert.equal(await status('/', { connection: 'upgrade', upgrade: 'websocket' }), 403);
  assert.equal(await status('https://second.example/', {}), 400);
  assert.ok(egress.records.every(({ decision }) => decision === 'refused'));
  egress.records.length = 0;
  const socket = await egress.tunnel('git.example:443');
  const secure = tls.connect({ socket, servername: 'second.example', ca: [egress.authority.certificate] });
  await once(secure, 'error');
  assert.deepEqual(
    (await egress.told(1)).map(({ decision, code, method }) => [method, decision, code]),
    [['CONNECT', 'refused', 'egress_refused']],
  );
  assert.deepEqual(seen, []);
});

test('an answer that is none, or another protocol, harms nobody', async () => {
  egress.setCredentials([bearer('main', ['git.example'])]);
  for (const status of ['101', '099', '000']) {
    egress.records.length = 0;
    const reply = await ask(`/status/${status}`);
    assert.deepEqual([reply.status, JSON.parse(reply.text).code], [502, 'egress_unreachable'], status);
    assert.equal(egress.records[0]?.code, 'egress_unreachable');
  }
});

test('what cannot be looked through is refused', async () => {
  egress.setCredentials([bearer('main', ['git.example'])]);
  const reply = await ask('/gzip');
  assert.equal(reply.status, 502);
  assert.match(reply.text, /egress_unreadable/);
});
