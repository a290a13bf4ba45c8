/** The gateway's way to a coordinator that answers, refuses, streams, is slow, or is not there. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import { createCoordinatorRow } from './coordinator.ts';
import { createGateway, type Gateway } from './gateway.ts';
import { createRelay } from './relay.ts';

const TOKEN = 'atoll_session_the-token';
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const own = newId('session');
const owned = { hostname: 'the-runner', executor_profile: 'program' };

type Seen = { method?: string; url?: string; headers: http.IncomingHttpHeaders; body: string };
const seen: Seen[] = [];
let respond: http.RequestListener = (_request, response) => void response.end('{"ok":true}');
let server: http.Server;
let url: string;
let token: () => Promise<string>;
let gateway: Gateway;
const relay = createRelay();

before(async () => {
  server = http.createServer(async (request, response) => {
    const { method = '', url = '', headers } = request;
    const body = Buffer.concat(await request.toArray()).toString();
    seen.push({ method, url, headers, body });
    void respond(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  gateway = await open(url);
});
after(async () => {
  await gateway.close();
  relay.close();
  server.close();
  server.closeAllConnections();
});
beforeEach(() => {
  seen.length = 0;
  token = async () => TOKEN;
  respond = (_request, response) => void response.writeHead(200, { 'x-own': 'kept' }).end('{"ok":true}');
});

function open(url: string, timeoutMs = 5000): Promise<Gateway> {
  const coordinator = { url, sessionToken: () => token() };
  const session = { id: own, epoch: 3 };
  return createGateway({
    where: { secretPath: '/s/x' },
    rows: [createCoordinatorRow({ coordinator, session, owned, relay, logger: silent, timeoutMs })],
  });
}

const json = (method: string, body: unknown): RequestInit => ({ method, body: JSON.stringify(body) });
const ask = (path: string, init: RequestInit = {}, at = gateway) => fetch(at.address + path, init);

async function assertRefused(response: Response, status: number, code: string): Promise<void> {
  const problem = (await response.json()) as { code: string; status: number };
  assert.deepEqual([response.status, problem.code, problem.status], [status, code, status]);
  assert.equal(response.headers.get('content-type'), 'application/problem+json');
}

test('the executor’s routes: its session goes into the path, and what the runner owns is added', async () => {
  const bind = { session_id: own, executor_session_id: 'e', project_dir: '/w', hostname: 'mine' };
  await ask('/bind', json('POST', bind));
  await ask('/events', json('POST', { session_id: own, event_type: 'step', hostname: 'mine', n: 1 }));
  await ask('/metadata', json('PATCH', { session_id: own, title: 't', gone: null }));
  assert.deepEqual(
    seen.map(({ method, url, body }) => [method, url, JSON.parse(body)]),
    [
      [
        'POST',
        `/api/sessions/${own}/bind`,
        { executor_session_id: 'e', project_dir: '/w', hostname: 'the-runner', executor_profile: 'program' },
      ],
      ['POST', `/api/sessions/${own}/events`, { event_type: 'step', hostname: 'the-runner', n: 1 }],
      ['PATCH', `/api/sessions/${own}/metadata`, { title: 't', gone: null }],
    ],
  );
  for (const { headers } of seen) {
    assert.equal(headers.authorization, `Bearer ${TOKEN}`);
    assert.equal(headers['content-type'], 'application/json');
  }
});

test('what the runner owns is added at the coordinator’s own paths, too', async () => {
  await ask(`/sessions/${own}/bind`, json('POST', { executor_session_id: 'e', hostname: 'mine' }));
  await ask(`/api/sessions/${own}/bind`, json('POST', { executor_session_id: 'e', executor_profile: 'p' }));
  await ask(`/sessions/${own}/events`, json('POST', { event_type: 'step', hostname: 'mine' }));
  assert.deepEqual(
    seen.map(({ url, body }) => [url, JSON.parse(body)]),
    [
      [`/api/sessions/${own}/bind`, { executor_session_id: 'e', ...owned }],
      [`/api/sessions/${own}/bind`, { executor_session_id: 'e', ...owned }],
      [`/api/sessions/${own}/events`, { event_type: 'step', hostname: 'the-runner' }],
    ],
  );
  await assertRefused(await ask(`/sessions/${own}/bind`, json('POST', [])), 400, 'invalid_request');
});

test('what is not of the form, of another session, or by another method is refused and reaches nobody', async () => {
  const other = newId('session');
  const deep = `{"session_id":"${own}","event_type":"x","a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`;
  const large = { session_id: own, event_type: 'x', pad: 'x'.repeat(2 ** 20) };
  await assertRefused(await ask('/bind', { method: 'POST' }), 400, 'invalid_json');
  await assertRefused(await ask('/bind', { method: 'POST', body: '{' }), 400, 'invalid_json');
  await assertRefused(await ask('/events', { method: 'POST', body: deep }), 400, 'invalid_json');
  await assertRefused(await ask('/bind', json('POST', [])), 400, 'invalid_request');
  await assertRefused(await ask('/bind', json('POST', { executor_session_id: 'e' })), 400, 'invalid_request');
  await assertRefused(await ask('/bind', json('POST', { session_id: own })), 400, 'invalid_request');
  await assertRefused(await ask('/events', json('POST', { session_id: own })), 400, 'invalid_request');
  await assertRefused(await ask('/metadata', json('PATCH', { title: 't' })), 400, 'invalid_request');
  await assertRefused(await ask('/events', json('POST', large)), 413, 'body_too_large');
  for (const [path, method] of [
    ['/bind', 'POST'],
    ['/events', 'POST'],
    ['/metadata', 'PATCH'],
  ] as const) {
    const foreign = { session_id: other, executor_session_id: 'e', event_type: 'x' };
    await assertRefused(await ask(path, json(method, foreign)), 403, 'wrong_session');
    const wrong = await ask(path, { method: 'PUT' });
    assert.equal(wrong.headers.get('allow'), method);
    await assertRefused(wrong, 405, 'method_not_allowed');
    await assertRefused(await ask(path), 405, 'method_not_allowed');
  }
  assert.deepEqual(seen, []);
});

test('any other path goes on as it is, without what the executor says of itself and of others', async () => {
  const headers = {
    authorization: 'Bearer stolen',
    cookie: 'a=b',
    'x-api-key': 'stolen',
    forwarded: 'for=1.2.3.4',
    'x-forwarded-for': '1.2.3.4',
    'proxy-authorization': 'Basic x',
    'last-event-id': '7',
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  };
  await ask(`/sessions/${own}/events?after=1&x=%2F`, { headers });
  await ask(`/api/sessions/${own}`, { headers });
  await ask('/sessions/other/messages', { ...json('POST', { content: 'x' }), headers });
  await ask('/sessionsx', { method: 'DELETE' });
  assert.deepEqual(
    seen.map(({ method, url, body }) => [method, url, body]),
    [
      ['GET', `/api/sessions/${own}/events?after=1&x=%2F`, ''],
      ['GET', `/api/sessions/${own}`, ''],
      ['POST', '/api/sessions/other/messages', '{"content":"x"}'],
      ['DELETE', '/sessionsx', ''],
    ],
  );
  for (const { headers: sent } of seen) {
    assert.equal(sent.authorization, `Bearer ${TOKEN}`);
    assert.equal(sent.host, new URL(url).host);
    for (const name of ['cookie', 'x-api-key', 'forwarded', 'x-forwarded-for', 'proxy-authorization'])
      assert.equal(sent[name], undefined, name);
  }
  assert.equal(seen[0]?.headers['last-event-id'], '7');
  assert.equal(seen[0]?.headers.traceparent, headers.traceparent);
});

test('the coordinator’s own status, headers and body come back; an echoed token does not', async () => {
  for (const status of [200, 201, 204, 400, 404, 409, 500, 503]) {
    respond = (request, response) => {
      const echo = status === 204 ? undefined : `said ${request.headers.authorization}`;
      response
        .writeHead(status, { 'x-own': 'kept', 'x-echo': String(request.headers.authorization) })
        .end(echo);
    };
    const response = await ask('/bind', json('POST', { session_id: own, executor_session_id: 'e' }));
    const clean = 'Bearer [removed by Atoll]';
    assert.deepEqual(
      [response.status, response.headers.get('x-own'), response.headers.get('x-echo'), await response.text()],
      [status, 'kept', clean, status === 204 ? '' : `said ${clean}`],
    );
  }
});

test('streams pass as they come, both ways', { timeout: 10_000 }, async () => {
  const go = Promise.withResolvers<void>();
  respond = async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    await go.promise;
    response.write('data: one\n\n');
    setTimeout(() => response.end('data: two\n\n'), 20);
  };
  // Its head is there before it said anything.
  const response = await ask(`/sessions/${own}/events`);
  go.resolve();
  const reader = response.body?.getReader();
  const first = await reader?.read();
  assert.equal(Buffer.from(first?.value ?? []).toString(), 'data: one\n\n');
  const second = await reader?.read();
  assert.equal(Buffer.from(second?.value ?? []).toString(), 'data: two\n\n');

  const arrived = Promise.withResolvers<string>();
  const streaming = http.createServer((request, reply) => {
    request.once('data', (chunk: Buffer) => arrived.resolve(chunk.toString()));
    request.on('end', () => reply.end('done'));
  });
  streaming.listen(0, '127.0.0.1');
  await once(streaming, 'listening');
  const other = await open(`http://127.0.0.1:${(streaming.address() as AddressInfo).port}`);
  const upload = http.request(`${other.address}/anything`, { method: 'PUT', agent: false });
  const answered = once(upload, 'response');
  upload.write('first');
  assert.equal(await arrived.promise, 'first', 'it goes on before there is more of it');
  upload.end('second');
  const [reply] = (await answered) as [http.IncomingMessage];
  assert.equal(Buffer.concat(await reply.toArray()).toString(), 'done');
  await other.close();
  streaming.close();
  streaming.closeAllConnections();
});

test('who leaves takes the call along', { timeout: 10_000 }, async () => {
  const left = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  respond = (_request, response) => {
    asked.resolve();
    response.on('close', () => left.resolve());
  };
  const leaving = new AbortController();
  const answer = ask('/api/anything', { signal: leaving.signal });
  await asked.promise;
  leaving.abort();
  await assert.rejects(answer);
  await left.promise;
});

test('502 when nobody is there, 504 when nobody answers in time', { timeout: 10_000 }, async () => {
  const nobody = await open('http://127.0.0.1:1');
  const bind = json('POST', { session_id: own, executor_session_id: 'e' });
  await assertRefused(await ask('/bind', bind, nobody), 502, 'coordinator_unreachable');
  await assertRefused(await ask('/api/sessions', {}, nobody), 502, 'coordinator_unreachable');
  await nobody.close();

  respond = () => undefined;
  const hasty = await open(url, 50);
  await assertRefused(await ask('/bind', bind, hasty), 504, 'timed_out');
  await assertRefused(await ask('/api/sessions', {}, hasty), 504, 'timed_out');
  // It is about the beginning: a stream may take its time.
  respond = (_request, response) => {
    response.write('slow');
    setTimeout(() => response.end('ly'), 150);
  };
  assert.equal(await (await ask('/api/sessions', {}, hasty)).text(), 'slowly');
  await hasty.close();

  respond = (_request, response) => void response.destroy();
  await assertRefused(await ask('/bind', bind), 502, 'coordinator_unreachable');
});

test('503 when there is no token, and nothing is sent', async () => {
  token = () => Promise.reject(new AtollError('stale_epoch'));
  const bind = json('POST', { session_id: own, executor_session_id: 'e' });
  await assertRefused(await ask('/bind', bind), 503, 'no_session_token');
  await assertRefused(await ask('/api/sessions'), 503, 'no_session_token');
  assert.deepEqual(seen, []);
});
