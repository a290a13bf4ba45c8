import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import http from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { AccessRecord } from '@atoll/protocol/schemas/access';
import type { Budget } from './budget.ts';
import { createGateway, type Gateway } from './gateway.ts';
import type { Where } from './listen.ts';
import { modelApis } from './model-apis.ts';
import { createModelRow, type Upstreams } from './models.ts';
import { createRelay } from './relay.ts';
import { held, keyFor, silent } from './upstream.fixture.ts';

const KEY = 'sk-ant-the-real-key';
const credentials = held();
const relay = createRelay();
const recorded: AccessRecord[] = [];
let upstream: http.Server;
let baseUrl: string;
let directory: string;
let gateway: Gateway;
const seen: { url: string | undefined; headers: http.IncomingHttpHeaders; body: string }[] = [];

before(async () => {
  upstream = http.createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString();
    seen.push({ url: request.url, headers: request.headers, body });
    response.writeHead(body.includes('teapot') ? 418 : 200, {
      'content-type': 'text/event-stream',
      'x-echo': KEY,
    });
    response.write('data: one\n\n');
    // The second half waits for the test, so that what came before it was not gathered.
    if (body.includes('halves')) await once(upstream, 'go-on');
    if (body === 'used') response.write('data: {"usage":{"input_tokens":40,"output_tokens":2}}\n\n');
    response.end(`data: your key is ${KEY}\n\n`);
  });
  upstream.listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  baseUrl = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  directory = await mkdtemp(join(tmpdir(), 'atoll-gateway-'));
  const where = { socketPath: join(directory, 'gateway.sock'), owner: undefined };
  gateway = await open(where, {
    anthropic: { baseUrl, apiKey: KEY },
    openai: { baseUrl, apiKey: KEY },
  });
});
after(async () => {
  await gateway.close();
  relay.close();
  upstream.close();
  upstream.closeAllConnections();
  await rm(directory, { recursive: true });
});

beforeEach(() => {
  credentials.now = [];
  delete credentials.error;
});

function open(where: Where, upstreams: Upstreams, budget?: Budget): Promise<Gateway> {
  const record = (each: AccessRecord) => void recorded.push(each);
  const common = { credentials, budget, relay, record, logger: silent };
  const rows = Object.values(modelApis).map((api) =>
    createModelRow({ ...common, api, upstream: upstreams[api.name] }),
  );
  return createGateway({ where, rows });
}

function ask(
  method: string,
  path: string,
  body = '',
  headers: Record<string, string> = {},
  socketPath = gateway.address,
): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    http.request({ socketPath, method, path, headers, agent: false }, resolve).on('error', reject).end(body);
  });
}

const text = async (response: http.IncomingMessage) => Buffer.concat(await response.toArray()).toString();

test('a model call goes on with the real key, without what the caller sent as one', async () => {
  const own = {
    'x-api-key': 'mine',
    authorization: 'Bearer mine',
    cookie: 'a=b',
    forwarded: 'for=x',
    'anthropic-version': '2023-06-01',
  };
  const response = await ask('POST', '/anthropic/v1/messages?beta=true', '{"a":1}', own);
  await text(response);
  const [{ url, headers, body } = assert.fail('nothing arrived')] = seen.slice(-1);
  assert.deepEqual([url, body], ['/v1/messages?beta=true', '{"a":1}']);
  assert.equal(headers['x-api-key'], KEY);
  assert.equal(headers['anthropic-version'], '2023-06-01');
  for (const name of ['authorization', 'cookie', 'forwarded']) assert.equal(headers[name], undefined);
});

test('status passes, chunks pass as they come, and the key is taken out of the reply', async () => {
  const response = await ask('POST', '/anthropic/v1/messages', 'teapot halves');
  assert.equal(response.statusCode, 418);
  assert.equal(response.headers['x-echo'], '[removed by Atoll]');
  const [first] = (await once(response, 'data')) as [Buffer];
  assert.equal(first.toString(), 'data: one\n\n');
  upstream.emit('go-on');
  assert.equal(await text(response), 'data: your key is [removed by Atoll]\n\n');
});

test('what is no model call is refused and reaches nobody', async () => {
  const before = seen.length;
  const asked: [string, string][] = [
    ['GET', '/anthropic/v1/messages'],
    ['POST', '/anthropic/v1/files'],
    ['DELETE', '/anthropic/v1/models/x'],
    ['POST', '/openai/v1/messages'],
    ['POST', '/openai/v1/embeddings'],
    ['GET', '/openai/v1/responses/resp_1'],
    ['POST', '/anthropic/v1/responses'],
  ];
  for (const [method, path] of asked) {
    const response = await ask(method, path);
    assert.equal(response.statusCode, 403, `${method} ${path}`);
    const { type, error } = JSON.parse(await text(response));
    assert.deepEqual(
      [type, error.type],
      [path.startsWith('/openai') ? undefined : 'error', 'permission_error'],
    );
  }
  assert.equal((await ask('POST', '/v1/messages')).statusCode, 404);
  assert.equal(seen.length, before);
});

test('a body on a GET is refused, and nothing of it is a request upstream', async () => {
  const before = seen.length;
  const smuggled = 'POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n';
  for (const headers of [{ 'transfer-encoding': 'chunked' }, { 'content-length': `${smuggled.length}` }]) {
    const refused = await ask('GET', '/anthropic/v1/models', smuggled, headers);
    assert.equal(refused.statusCode, 400);
    await text(refused);
    await text(await ask('POST', '/anthropic/v1/messages', '{"mine":1}'));
  }
  await text(await ask('GET', '/anthropic/v1/models/claude-x', '', { 'content-length': '0' }));
  assert.deepEqual(
    seen.slice(before).map(({ url, body }) => [url, body]),
    [
      ['/v1/messages', '{"mine":1}'],
      ['/v1/messages', '{"mine":1}'],
      ['/v1/models/claude-x', ''],
    ],
  );
});

test('a body is framed as it came, and only known headers go on', async () => {
  await text(
    await ask('POST', '/anthropic/v1/messages', 'whole', {
      'content-length': '5',
      connection: 'close, anthropic-beta',
      'anthropic-beta': 'hop',
      'x-stainless-lang': 'js',
      'x-forwarded-host': 'elsewhere',
      'proxy-authorization': 'mine',
    }),
  );
  const whole = seen.at(-1)?.headers ?? {};
  assert.deepEqual([whole['content-length'], whole['transfer-encoding']], ['5', undefined]);
  assert.equal(whole['x-stainless-lang'], 'js');
  for (const name of ['anthropic-beta', 'x-forwarded-host', 'proxy-authorization'])
    assert.equal(whole[name], undefined, name);
  await text(await ask('POST', '/anthropic/v1/messages', 'pieces', { 'transfer-encoding': 'chunked' }));
  const pieces = seen.at(-1) ?? assert.fail('nothing arrived');
  assert.deepEqual([pieces.headers['transfer-encoding'], pieces.body], ['chunked', 'pieces']);
});

test('the socket is its owner’s alone, however long its path', async () => {
  assert.equal((await stat(gateway.address)).mode & 0o777, 0o600);
  const deep = await mkdtemp(join(directory, 'x'.repeat(120)));
  const long = await open({ socketPath: join(deep, 'gateway.sock'), owner: undefined }, {});
  assert.ok((await stat(join(deep, 'gateway.sock'))).isSocket());
  await long.close();
});

test('no key, or no upstream, is said in the API’s own shape', async () => {
  const none = await open({ secretPath: '/s/abc' }, {});
  const there = { baseUrl: 'http://127.0.0.1:1', apiKey: KEY };
  const lost = await open({ secretPath: '/s/abc' }, { anthropic: there, openai: there });
  const post = (url: string, path: string) => fetch(url + path, { method: 'POST', body: '{}' });
  for (const [path, kind, variable] of [
    ['/anthropic/v1/messages', 'anthropic', 'ANTHROPIC_API_KEY'],
    ['/openai/v1/responses', 'openai', 'OPENAI_API_KEY'],
  ] as const) {
    const keyless = await post(none.address, path);
    assert.deepEqual([keyless.status, keyless.headers.get('x-should-retry')], [503, 'false']);
    assert.match(await keyless.text(), new RegExp(`--kind ${kind}.*${variable}`));
    const answer = await post(lost.address, path);
    assert.deepEqual([answer.status, answer.headers.get('x-should-retry')], [502, null]);
    assert.match(((await answer.json()) as { error: { message: string } }).error.message, /ECONNREFUSED/);
  }
  await Promise.all([none.close(), lost.close()]);
});

const atAnthropic = { at: 'anthropic', url: 'http://unused' } as const;

test('the first stored key for the API that fits goes before the runner’s own, in its own header', async () => {
  const url = baseUrl;
  const header = { name: 'x-api-key', value: 'stored-1' };
  credentials.now = [
    keyFor({ at: 'hosts', hosts: ['127.0.0.1'] }),
    keyFor({ at: 'openai', url }),
    keyFor({ ...atAnthropic, url }, { header, secrets: ['stored-1'] }),
    keyFor({ ...atAnthropic, url }, { header: { name: 'x-api-key', value: 'stored-2' } }),
  ];
  await text(await ask('POST', '/anthropic/v1/messages', '{}'));
  const { headers = {} } = seen.at(-1) ?? {};
  assert.deepEqual([headers['x-api-key'], headers.authorization], ['stored-1', undefined]);
  await text(await ask('POST', '/openai/v1/responses', '{}', { authorization: 'Bearer mine' }));
  assert.equal(seen.at(-1)?.headers.authorization, 'Bearer the-stored-secret');
  assert.equal(seen.at(-1)?.headers['x-api-key'], undefined);
});

test('each call that went on, or was refused with a key at hand, is told with what passed', async () => {
  recorded.length = 0;
  await text(await ask('POST', '/anthropic/v1/messages', '{"a":1}', { 'content-length': '7' }));
  credentials.now = [keyFor({ ...atAnthropic, url: 'http://127.0.0.1:1' }, { methods: ['POST'] })];
  await text(await ask('POST', '/anthropic/v1/messages', '{}'));
  await text(await ask('GET', '/anthropic/v1/models'));
  await text(await ask('POST', '/anthropic/v1/files'));
  while (recorded.length < 3) await setImmediate();
  const told = recorded.map(({ time: _, durationMs: __, ...rest }) => rest);
  const common = { via: 'model', method: 'POST', host: '127.0.0.1' } as const;
  const port = Number(new URL(baseUrl).port);
  const receivedBytes = `data: one\n\ndata: your key is ${KEY}\n\n`.length;
  const none = { port: 1, credential: 'stored', receivedBytes: 0 };
  assert.deepEqual(told, [
    { ...common, port, decision: 'allowed', status: 200, sentBytes: 7, receivedBytes },
    { ...common, ...none, decision: 'allowed', code: 'upstream_failed', sentBytes: 2 },
    {
      ...common,
      ...none,
      method: 'GET',
      decision: 'refused',
      code: 'credential_out_of_bounds',
      sentBytes: 0,
    },
  ]);
});

test('bounds of a stored key hold, and the runner’s own does not take its place', async () => {
  const before = seen.length;
  credentials.now = [
    keyFor({ ...atAnthropic, url: baseUrl }, { methods: ['POST'], paths: ['/v1/messages/'] }),
  ];
  assert.equal((await ask('POST', '/anthropic/v1/messages')).statusCode, 200);
  assert.equal((await ask('POST', '/anthropic/v1/messages/count_tokens')).statusCode, 200);
  assert.equal((await ask('GET', '/anthropic/v1/models')).statusCode, 403);
  credentials.now = [keyFor({ ...atAnthropic, url: baseUrl }, { paths: ['/v1/mess'] })];
  assert.equal((await ask('POST', '/anthropic/v1/messages')).statusCode, 403);
  assert.equal(seen.length, before + 2);
});

test('while it is not known which keys there are, nothing is sent', async () => {
  const before = seen.length;
  credentials.error = new AtollError('credentials_unavailable', 'no credentials now (stale_epoch)');
  const response = await ask('POST', '/anthropic/v1/messages', '{}');
  assert.deepEqual([response.statusCode, response.headers['x-should-retry']], [503, undefined]);
  assert.match(await text(response), /stale_epoch/);
  assert.equal(seen.length, before);
});

test('an upstream’s URL is read as the API’s own clients read a base URL', async () => {
  const wanted = [
    ['openai', '', '/v1/chat/completions'],
    ['openai', '/v1', '/v1/chat/completions'],
    ['openai', '/api/v4/', '/api/v4/chat/completions'],
    ['anthropic', '', '/v1/messages'],
    ['anthropic', '/behind/', '/behind/v1/messages'],
  ] as const;
  for (const [at, below, path] of wanted) {
    credentials.now = [keyFor({ at, url: baseUrl + below }, { paths: [path] })];
    const asked = at === 'openai' ? '/openai/v1/chat/completions?a=b' : '/anthropic/v1/messages?a=b';
    await text(await ask('POST', asked, '{}'));
    assert.equal(seen.at(-1)?.url, `${path}?a=b`);
  }
});

test('a budget is asked before anything is sent, and hears what each call took', async () => {
  let left = 2;
  const spent: number[] = [];
  const budget: Budget = {
    async admit() {
      if (left-- === 0) throw new AtollError('model_budget_spent', 'nothing is left');
    },
    spend: (tokens) => void spent.push(tokens),
  };
  const metered = await open({ secretPath: '/s/abc' }, { anthropic: { baseUrl, apiKey: KEY } }, budget);
  const before = seen.length;
  const post = (path: string, body: string) =>
    fetch(`${metered.address}/anthropic/v1/${path}`, { method: 'POST', body });
  await (await post('messages', 'used')).text();
  await (await post('messages/count_tokens', '{}')).text();
  const leaving = await post('messages', 'halves');
  await leaving.body?.getReader().cancel();
  while (spent.length < 2) await setImmediate();
  // Of the second: 6 bytes asked, and the one event that came.
  assert.deepEqual(spent, [42, 2 + 1]);
  const refused = await post('messages', '{}');
  assert.deepEqual([refused.status, refused.headers.get('x-should-retry')], [429, 'false']);
  assert.deepEqual(((await refused.json()) as { error: object }).error, {
    type: 'rate_limit_error',
    message: 'nothing is left',
  });
  assert.equal(seen.length, before + 3);
  await metered.close();
});

test('a caller that opens connections without end is refused the next, and its calls go on', async () => {
  const sockets: Socket[] = [];
  let refused = 0;
  for (let count = 0; count < 400; count++) {
    const socket = connect(gateway.address).on('error', () => undefined);
    socket.on('close', () => refused++);
    socket.resume();
    sockets.push(socket);
  }
  while (refused < 400 - 256) await setImmediate();
  assert.equal(refused, 400 - 256);
  for (const socket of sockets) socket.destroy();
  await Promise.all(sockets.map((socket) => socket.closed || once(socket, 'close')));
  assert.equal((await ask('POST', '/anthropic/v1/messages', '{}')).statusCode, 200);
});
