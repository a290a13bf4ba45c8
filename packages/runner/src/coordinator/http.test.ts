/** A gateway whose coordinator is elsewhere: what it answers, and what it sends. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import { createCoordinatorRow } from '../gateway/coordinator.ts';
import { createGateway, type Gateway } from '../gateway/gateway.ts';
import { createRelay } from '../gateway/relay.ts';
import { createHttpCoordinator } from './http.ts';
import type { TokenSource } from './renewed.ts';

const relay = createRelay();
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const own = newId('session');
const clock = { nowMs: Date.now() };

type Seen = { path: string; authorization: string | undefined; body: string };
const seen: Seen[] = [];
let given = 0;
let tokenRoute: http.RequestListener;
let otherRoutes: http.RequestListener;
let tokens: TokenSource;
let server: http.Server;
let url: string;
let gateway: Gateway;

const isTokenRoute = ({ path }: { path: string }) => path.startsWith('/api/internal/');
const calls = () => seen.filter((each) => !isTokenRoute(each));
const trades = () => seen.filter(isTokenRoute);

before(async () => {
  server = http.createServer(async (request, response) => {
    const { url: path = '', headers } = request;
    const body = Buffer.concat(await request.toArray()).toString();
    seen.push({ path, authorization: headers.authorization, body });
    (isTokenRoute({ path }) ? tokenRoute : otherRoutes)(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => {
  server.close();
  server.closeAllConnections();
});
beforeEach(async () => {
  seen.length = 0;
  given = 0;
  tokens = { token: async () => 'own-1' };
  tokenRoute = (_request, response) => {
    const expiresAt = new Date(clock.nowMs + 900_000).toISOString();
    given++;
    response.end(JSON.stringify({ token: `atoll_session_${given}`, expiresAt }));
  };
  otherRoutes = (_request, response) => void response.end('{}');
  gateway = await open(url);
});
afterEach(() => gateway.close());

after(() => relay.close());

function open(at: string): Promise<Gateway> {
  const source: TokenSource = { token: (refused) => tokens.token(refused) };
  const now = () => clock.nowMs;
  const coordinator = createHttpCoordinator({ url: at, tokens: source, logger: silent, now, timeoutMs: 200 });
  const owned = { hostname: 'h', executor_profile: 'p' };
  const session = { id: own, epoch: 4 };
  return createGateway({
    where: { secretPath: '/s/x' },
    rows: [createCoordinatorRow({ coordinator, session, owned, relay, logger: silent, timeoutMs: 200 })],
  });
}

async function report(at = gateway): Promise<{ status: number; code: string | undefined }> {
  const body = JSON.stringify({ session_id: own, event_type: 'step' });
  const response = await fetch(`${at.address}/events`, { method: 'POST', body });
  return { status: response.status, code: ((await response.json()) as { code?: string }).code };
}

const problem =
  (status: number, code: string): http.RequestListener =>
  (_request, response) =>
    void response.writeHead(status).end(JSON.stringify({ code, detail: 'so it is' }));

test('its own token is traded for the session’s, once for many calls', async () => {
  await Promise.all(Array.from({ length: 5 }, () => report()));
  assert.deepEqual(trades(), [
    { path: `/api/internal/sessions/${own}/token`, authorization: 'Bearer own-1', body: '{"epoch":4}' },
  ]);
  assert.deepEqual([...new Set(calls().map((call) => call.authorization))], ['Bearer atoll_session_1']);
  assert.equal(calls().length, 5);
});

test('it is traded anew when its end nears', async () => {
  await report();
  clock.nowMs += 860_000;
  while (trades().length < 2) assert.equal((await report()).status, 200);
  assert.equal((await report()).status, 200);
  assert.equal(calls().at(-1)?.authorization, 'Bearer atoll_session_2');
});

test('a session’s token that is turned down is used no more; the answer is the coordinator’s', async () => {
  for (const [status, code] of [
    [401, 'unauthorized'],
    [409, 'stale_epoch'],
  ] as const) {
    const held = given;
    otherRoutes = problem(status, code);
    assert.deepEqual(await report(), { status, code });
    otherRoutes = (_request, response) => void response.end('{}');
    assert.deepEqual(await report(), { status: 200, code: undefined });
    assert.equal(given, Math.max(1, held) + 1);
  }
  for (const status of [400, 403, 404, 429, 500, 503]) {
    otherRoutes = problem(status, 'not_found');
    assert.equal((await report()).status, status);
  }
  assert.equal(given, 3);
});

test('its own token that is turned down is replaced, if there is another', async () => {
  const refused: (string | undefined)[] = [];
  tokens = {
    async token(turnedDown) {
      refused.push(turnedDown);
      return turnedDown === 'own-1' ? 'own-2' : 'own-1';
    },
  };
  const grant = tokenRoute;
  tokenRoute = (request, response) =>
    request.headers.authorization === 'Bearer own-2'
      ? grant(request, response)
      : problem(401, 'unauthorized')(request, response);
  assert.equal((await report()).status, 200);
  assert.deepEqual(refused, [undefined, 'own-1']);

  tokens = { token: async () => 'a-key' };
  seen.length = 0;
  const keyed = await open(url);
  assert.deepEqual(await report(keyed), { status: 503, code: 'no_session_token' });
  assert.equal(trades().length, 1);
  await keyed.close();
});

test('without a token nothing is sent: 503', async () => {
  const none = { status: 503, code: 'no_session_token' };
  for (const code of ['issuer_unavailable', 'issuer_refused'] as const) {
    tokens = { token: () => Promise.reject(new AtollError(code)) };
    assert.deepEqual(await report(), none);
  }
  assert.deepEqual(seen, []);
  tokens = { token: async () => 'own-1' };
  for (const [status, code] of [
    [401, 'unauthorized'],
    [403, 'forbidden'],
    [404, 'not_found'],
    [409, 'stale_epoch'],
    [409, 'session_ended'],
    [500, 'internal'],
  ] as const) {
    tokenRoute = problem(status, code);
    assert.deepEqual(await report(), none, code);
  }
  tokenRoute = (_request, response) => void response.end('{"token": 1}');
  assert.deepEqual(await report(), none);
  assert.deepEqual(calls(), []);
});

test('a coordinator that is down: 502; one that is late: 504; nothing is sent', async () => {
  const nobody = await open('http://127.0.0.1:1');
  assert.deepEqual(await report(nobody), { status: 502, code: 'coordinator_unreachable' });
  await nobody.close();
  const pages: http.RequestListener[] = [
    (_request, response) => response.destroy(),
    (_request, response) => response.writeHead(502).end('<html>'),
    (_request, response) => response.end('<html>'),
    (_request, response) => response.writeHead(307, { location: '/elsewhere' }).end(),
    problem(503, 'no_such_code'),
  ];
  for (const page of pages) {
    tokenRoute = page;
    assert.deepEqual(await report(), { status: 502, code: 'coordinator_unreachable' }, String(page));
  }
  tokenRoute = () => undefined;
  assert.deepEqual(await report(), { status: 504, code: 'timed_out' });
  assert.deepEqual(calls(), []);
});
