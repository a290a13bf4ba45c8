/** What an agent reaches, and what it does not, whatever it calls it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, afterEach, before, test } from 'node:test';
import { openEgress, type Reply, type TestEgress } from './egress.fixture.ts';

const PUBLIC = '93.184.216.34';

let egress: TestEgress;
before(async () => {
  egress = await openEgress({
    allowed: [
      'one.example',
      '*.wild.example',
      '10.0.0.5',
      '[fd00::5]',
      'private.internal',
      'inner.example',
      'rebound.example',
      'both.example',
      'gone.example',
      'nowhere.example',
    ],
    names: {
      'one.example': [[PUBLIC]],
      'a.wild.example': [[PUBLIC]],
      'private.internal': [['10.1.1.1']],
      'inner.example': [['10.0.0.5']],
      'both.example': [[PUBLIC, '127.0.0.1']],
      'rebound.example': [[PUBLIC], ['127.0.0.1']],
      'gone.example': [['93.184.216.99']],
    },
  });
  await egress.http(PUBLIC, async (request, response) => {
    if (request.url === '/elsewhere') return response.writeHead(302, { location: 'http://127.0.0.1/' }).end();
    const body = Buffer.concat(await request.toArray()).toString();
    response.setHeader(
      'x-seen',
      JSON.stringify({ ...request.headers, url: request.url, method: request.method }),
    );
    response.end(`said ${body}`);
  });
  await egress.http('10.0.0.5', (_request, response) => response.end('inner'));
  await egress.http('10.1.1.1', (_request, response) => response.end('private'));
  await egress.http('fd00::5', (_request, response) => response.end('six'));
  await egress.raw(PUBLIC, (socket) => socket.on('error', () => undefined).pipe(socket));
});
after(() => egress.close());
afterEach(() => {
  for (const list of [egress.records, egress.dialled, egress.asked]) list.length = 0;
});

function assertProblem(reply: Reply, status: number, code: string): void {
  const problem = JSON.parse(reply.text) as { code: string; status: number };
  assert.deepEqual([reply.status, problem.code, problem.status], [status, code, status], reply.text);
  assert.equal(reply.headers['content-type'], 'application/problem+json');
}

async function assertRefused(target: string, status = 403, code = 'egress_refused'): Promise<void> {
  const before = egress.records.length;
  const { host } = /^http:\/\/(?<host>[^/]*)/.exec(target)?.groups ?? { host: target };
  assertProblem(await egress.ask(target, { headers: { host: host ?? '' } }), status, code);
  const tunnel = await egress.open(`${host}:443`);
  assert.ok('status' in tunnel, `${host} was reached`);
  assertProblem(tunnel, status, code);
  assert.deepEqual(
    egress.records.slice(before).map(({ decision, code: why, method }) => [method, decision, why]),
    [
      ['GET', 'refused', code],
      ['CONNECT', 'refused', code],
    ],
  );
  assert.deepEqual(egress.dialled, []);
}

test('a request to a listed host is forwarded without what is meant for the proxy, and told', async () => {
  const headers = {
    host: 'one.example',
    'proxy-authorization': 'Basic x',
    'proxy-connection': 'keep-alive',
    'keep-alive': 'x',
    te: 'trailers',
    'x-own': '1',
    connection: 'keep-alive, x-hop',
    'x-hop': '1',
  };
  const reply = await egress.ask('http://one.example/a%2fb?c=d', { method: 'POST', headers, body: 'hello' });
  assert.deepEqual([reply.status, reply.text], [200, 'said hello']);
  const seen = JSON.parse(String(reply.headers['x-seen']));
  assert.deepEqual(
    [seen.method, seen.url, seen.host, seen['x-own']],
    ['POST', '/a%2fb?c=d', 'one.example', '1'],
  );
  for (const name of ['proxy-authorization', 'proxy-connection', 'x-hop', 'te'])
    assert.equal(seen[name], undefined, name);
  assert.deepEqual(egress.dialled, [`${PUBLIC} 80`]);
  const { time, durationMs, ...record } = (await egress.told(1))[0] ?? assert.fail('nothing was told');
  assert.ok(Date.parse(time) > 0 && durationMs >= 0);
  assert.deepEqual(record, {
    via: 'egress',
    method: 'POST',
    host: 'one.example',
    port: 80,
    decision: 'allowed',
    status: 200,
    sentBytes: 5,
    receivedBytes: 10,
  });
});

test('names below a wildcard, listed addresses and private names are reached', async () => {
  const text = async (url: string) => (await egress.ask(url, { headers: { host: new URL(url).host } })).text;
  assert.equal(await text('http://a.wild.example/'), 'said ');
  assert.equal(await text('http://10.0.0.5/'), 'inner');
  assert.equal(await text('http://[fd00::5]/'), 'six');
  assert.equal(await text('http://private.internal/'), 'private');
  assert.equal(await text('http://inner.example/'), 'inner', 'its address is listed, too');
  await egress.told(5);
});

test('a tunnel carries bytes both ways, half-closes included, and tells how many', async () => {
  const socket = await egress.tunnel('one.example:443');
  socket.end('over and back');
  assert.equal(Buffer.concat(await socket.toArray()).toString(), 'over and back');
  await egress.told(1);
  const [{ method, host, port, decision, sentBytes, receivedBytes } = assert.fail()] = egress.records;
  assert.deepEqual(
    [method, host, port, decision, sentBytes, receivedBytes],
    ['CONNECT', 'one.example', 443, 'allowed', 13, 13],
  );
});

test('hosts that are not listed are refused, with how to allow them', async () => {
  await assertRefused('http://other.example/');
  await assertRefused('http://wild.example/');
  await assertRefused('http://awild.example/');
  await assertRefused('http://one.example.evil.example/');
  await assertRefused('http://one.example./');
  const reply = await egress.ask('http://other.example/', { headers: { host: 'other.example' } });
  assert.match(reply.text, /other\.example.*\\"egress\\".*atoll\.json/);
  assert.deepEqual(egress.asked, [], 'nobody was asked for their addresses');
});

test('no spelling of an address that is not listed gets anywhere', async () => {
  const spellings = [
    '127.0.0.1',
    '127.1',
    '0x7f000001',
    '2130706433',
    '0177.0.0.1',
    '127.0.0.1.',
    '0.0.0.0',
    '0',
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[::127.0.0.1]',
    '[64:ff9b::7f00:1]',
    '[64:ff9b:1::1]',
    '[2002:7f00:1::]',
    '[fe80::1]',
    '[fd00::6]',
    '[ff02::1]',
    '169.254.169.254',
    '10.0.0.6',
    '10.5',
    '167772165',
    '0xa.0.0.5',
    '012.0.0.5',
    '[::ffff:10.0.0.5]',
    '192.168.0.1',
    '172.16.0.1',
    '100.64.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '8.8.8.8',
    'localhost',
    '①②⑦.0.0.1',
  ];
  for (const host of spellings) {
    if (/^[!-~]*$/.test(host)) await assertRefused(`http://${host}/`);
    else assert.ok('status' in (await egress.open(`${encodeURIComponent(host)}:443`)));
    egress.records.length = 0;
  }
});

test('a public name that leads inside is refused, in one answer or the next', async () => {
  await assertRefused('http://both.example/');
  const first = await egress.ask('http://rebound.example/', { headers: { host: 'rebound.example' } });
  assert.equal(first.status, 200);
  await egress.told(3);
  assert.deepEqual(
    [egress.asked.filter((name) => name === 'rebound.example').length, egress.dialled],
    [1, [`${PUBLIC} 80`]],
  );
  egress.dialled.length = 0;
  await assertRefused('http://rebound.example/');
});

test('a redirect is the client’s to follow, and judged as any request', async () => {
  const reply = await egress.ask('http://one.example/elsewhere', { headers: { host: 'one.example' } });
  assert.deepEqual([reply.status, reply.headers.location], [302, 'http://127.0.0.1/']);
  await egress.told(1);
  egress.dialled.length = 0;
  await assertRefused(String(reply.headers.location));
});

test('a Host that says something else, other ports, other protocols and no URLs are refused', async () => {
  const host = 'one.example';
  const ask = (target: string, headers: Record<string, string> = { host }) => egress.ask(target, { headers });
  assertProblem(await ask('http://one.example/', { host: 'other.example' }), 403, 'egress_refused');
  assertProblem(await ask('http://one.example:8080/', { host: 'one.example:8080' }), 403, 'egress_refused');
  assertProblem(await ask('http://one.example:443/', { host: 'one.example:443' }), 403, 'egress_refused');
  assertProblem(await ask('http://user:pass@one.example/', { host }), 400, 'invalid_request');
  assertProblem(await ask('https://one.example/'), 400, 'invalid_request');
  assertProblem(await ask('ftp://one.example/'), 400, 'invalid_request');
  assertProblem(
    await ask('http://one.example/', { host, connection: 'upgrade', upgrade: 'websocket' }),
    403,
    'egress_refused',
  );
  for (const [authority, status] of [
    ['one.example:22', 403],
    ['one.example:0', 403],
    ['one.example:99999', 403],
    ['one.example', 400],
    ['@:443', 400],
    ['*.wild.example:443', 403],
  ] as const) {
    const refused = await egress.open(authority);
    assert.ok('status' in refused && refused.status === status, authority);
  }
  const other = await egress.open('one.example:443', { host: 'other.example:443' });
  assert.ok('status' in other && other.status === 403);
  assert.deepEqual(egress.dialled, []);
});

test('in a tunnel to port 80 each request is judged by itself', async () => {
  const socket = await egress.tunnel('one.example:80');
  const ask = egress.within(socket);
  const inside = (path: string, headers: Record<string, string>) => ask(path, { headers });
  assert.equal((await inside('/x', { host: 'one.example' })).text, 'said ');
  assertProblem(await inside('/x', { host: 'other.example' }), 403, 'egress_refused');
  assertProblem(await inside('http://other.example/', { host: 'one.example' }), 400, 'invalid_request');
  assert.deepEqual(
    egress.records.map(({ method, decision, port }) => [method, decision, port]),
    [
      ['GET', 'allowed', 80],
      ['GET', 'refused', 80],
      ['GET', 'refused', 80],
    ],
  );
  socket.destroy();
});

test('who asks in TLS for another name than in the tunnel gets nothing', async () => {
  const hello = await import('node:tls');
  const socket = await egress.tunnel('one.example:443');
  hello.connect({ socket, servername: 'other.example' }).on('error', () => undefined);
  await once(socket, 'close');
  await egress.told(1);
  const [{ decision, code, sentBytes } = assert.fail()] = egress.records;
  assert.deepEqual([decision, code, sentBytes], ['refused', 'egress_refused', 0]);
});

test('what cannot be reached is said', async () => {
  const unreachable = await egress.ask('http://gone.example/', { headers: { host: 'gone.example' } });
  assertProblem(unreachable, 502, 'egress_unreachable');
  const tunnel = await egress.open('gone.example:443');
  assert.ok('status' in tunnel);
  assertProblem(tunnel, 502, 'egress_unreachable');
  assertProblem(
    await egress.ask('http://nowhere.example/', { headers: { host: 'nowhere.example' } }),
    502,
    'egress_unreachable',
  );
  assert.deepEqual(
    egress.records.map(({ decision, code }) => [decision, code]),
    Array(3).fill(['allowed', 'egress_unreachable']),
  );
});

test('tunnels are bounded, and closed with the gateway', { timeout: 20_000 }, async () => {
  const own = await openEgress({ allowed: ['one.example'], names: { 'one.example': [[PUBLIC]] } });
  await own.raw(PUBLIC, () => undefined);
  const open = await Promise.all(Array.from({ length: 128 }, () => own.tunnel('one.example:443')));
  const refused = await own.open('one.example:443');
  assert.ok('status' in refused);
  assertProblem(refused, 429, 'too_many_tunnels');
  const closed = Promise.all(
    open.map((socket) => once(socket.on('error', () => undefined).resume(), 'close')),
  );
  await own.close();
  await closed;
  await own.told(129);
});

test('where others can reach the gateway, the proxy wants its password', async () => {
  const own = await openEgress({
    allowed: ['one.example'],
    names: { 'one.example': [[PUBLIC]] },
    password: 'guess',
  });
  await own.http(PUBLIC, (_request, response) => response.end('there'));
  const ask = (password?: string) =>
    own.ask('http://one.example/', {
      headers: {
        host: 'one.example',
        ...(password ? { 'proxy-authorization': `Basic ${btoa(`atoll:${password}`)}` } : {}),
      },
    });
  const stranger = await ask();
  assertProblem(stranger, 407, 'proxy_unauthorized');
  assert.match(String(stranger.headers['proxy-authenticate']), /^Basic /);
  assertProblem(await ask('other'), 407, 'proxy_unauthorized');
  assert.equal((await ask('guess')).text, 'there');
  const tunnel = await own.open('one.example:443');
  assert.ok('status' in tunnel && tunnel.status === 407);
  await own.close();
});
