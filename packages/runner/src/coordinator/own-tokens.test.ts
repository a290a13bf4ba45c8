/** Client credentials at a real OIDC provider, and at issuers that are slow, gone or mean. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { decodeJwt } from 'jose';
import { AUDIENCE, type MachineClient, startOidcIssuer } from '../../../../testing/stand-ins/oidc-issuer.ts';
import { createOidcTokens, keyTokens, type OidcClient } from './own-tokens.ts';

const SECRET = 'marked-client-secret';
const machine: MachineClient = { id: 'runner-1', secret: SECRET, claims: { atoll_role: 'runner' } };

function tokensOf(issuer: string, client: Partial<OidcClient> = {}) {
  const clock = { nowMs: Date.now() };
  const lines: unknown[] = [];
  const log = (fields: object, message: string) => void lines.push(fields, message);
  const source = createOidcTokens({
    client: { issuer, clientId: machine.id, clientSecret: SECRET, audience: AUDIENCE, ...client },
    logger: { debug: log, info: log, warn: log, error: log },
    now: () => clock.nowMs,
    timeoutMs: 300,
  });
  return { clock, lines, source };
}

/** Everything that a log or a person could see of it. */
function assertRefused(code: string, detail: RegExp) {
  return (error: unknown) => {
    assert.equal((error as { code?: string }).code, code, inspect(error));
    assert.match(String(error), detail);
    assert.ok(!inspect(error, { depth: 10, showHidden: true }).includes(SECRET));
    return true;
  };
}

test('a key is what it is', async () => {
  const { token } = keyTokens('atoll_x');
  assert.deepEqual([await token(), await token('atoll_x')], ['atoll_x', 'atoll_x']);
});

test('a token for the audience and scope, asked for once and renewed early', async () => {
  await using provider = await startOidcIssuer({ clients: [machine], lifetimeS: 600 });
  const { clock, source } = tokensOf(provider.issuer, { scope: 'sessions' });
  assert.equal(provider.asked.size, 0);
  const tokens = new Set(await Promise.all(Array.from({ length: 10 }, () => source.token())));
  const [first = ''] = tokens;
  const { aud, scope, sub, atoll_role } = decodeJwt(first);
  assert.deepEqual(
    [tokens.size, aud, scope, sub, atoll_role],
    [1, AUDIENCE, 'sessions', 'runner-1', 'runner'],
  );
  assert.deepEqual(Object.fromEntries(provider.asked), {
    '/.well-known/openid-configuration': 1,
    '/token': 1,
  });

  clock.nowMs += 545_000;
  while ((await source.token()) === first) await new Promise(setImmediate);
  assert.deepEqual(Object.fromEntries(provider.asked), {
    '/.well-known/openid-configuration': 1,
    '/token': 2,
  });

  await provider.down();
  clock.nowMs += 545_000;
  const kept = await source.token();
  clock.nowMs += 40_000;
  assert.equal(await source.token(), kept, 'it holds for the rest of its time');
  clock.nowMs += 20_000;
  await assert.rejects(source.token(), assertRefused('issuer_unavailable', /ECONNREFUSED|SOCKET/));
  await provider.listen();
  assert.notEqual(await source.token(), kept);
});

test('a provider that lists no way to prove oneself gets the one it must take', async () => {
  const basic = { ...machine, auth: 'client_secret_basic' } as const;
  await using provider = await startOidcIssuer({ clients: [basic] });
  const proofs: string[] = [];
  await using proxy = await serve(async ({ method = '', url = '', headers }, response, body) => {
    const { authorization = '', 'content-type': type = '' } = headers;
    if (method === 'POST')
      proofs.push(authorization.split(' ')[0] ?? '', ...(body.includes(SECRET) ? ['body'] : []));
    const init = { method, headers: { authorization, 'content-type': type } };
    const answer = await fetch(provider.issuer + url, method === 'POST' ? { ...init, body } : init);
    const text = (await answer.text()).replaceAll(provider.issuer, proxy.url);
    response
      .writeHead(answer.status, { 'content-type': 'application/json' })
      .end(text.replace(/"token_endpoint_auth_methods_supported":\[.*?\],/, ''));
  });
  await tokensOf(proxy.url).source.token();
  assert.deepEqual(proofs, ['Basic']);
});

test('what the issuer refuses is told apart from its being gone', { timeout: 20_000 }, async () => {
  await using provider = await startOidcIssuer({ clients: [machine] });
  const wrong = tokensOf(provider.issuer, { clientSecret: `${SECRET}-old` }).source;
  await assert.rejects(wrong.token(), assertRefused('issuer_refused', /invalid_client/));
  const elsewhere = tokensOf(provider.issuer, { audience: 'no URI' }).source;
  await assert.rejects(elsewhere.token(), assertRefused('issuer_refused', /invalid_target/));
  await provider.down();
  const nobody = tokensOf(provider.issuer).source;
  await assert.rejects(nobody.token(), assertRefused('issuer_unavailable', /ECONNREFUSED|SOCKET/));
});

test('an issuer that repeats what it was sent, is slow, or sends elsewhere', {
  timeout: 20_000,
}, async () => {
  let document: object = {};
  let answer: (response: http.ServerResponse, body: string) => void = () => undefined;
  await using mean = await serve(({ url }, response, body) => {
    const json = response.setHeader('content-type', 'application/json');
    const both = ['client_secret_post'];
    const token_endpoint = `${mean.url}/token`;
    const found = { issuer: mean.url, token_endpoint, token_endpoint_auth_methods_supported: both };
    if (url === '/token') answer(json, body);
    else json.end(JSON.stringify({ ...found, ...document }));
  });
  const cases: [code: string, detail: RegExp, answer: typeof answer][] = [
    [
      'issuer_refused',
      /status 400/,
      (r, body) => r.writeHead(400).end(JSON.stringify({ error: body, error_description: body })),
    ],
    [
      'issuer_refused',
      /status 401/,
      (r, body) => r.writeHead(401, { 'www-authenticate': `Basic realm="${body}"` }).end(),
    ],
    ['issuer_unavailable', /./, (r, body) => r.writeHead(500).end(body)],
    ['issuer_unavailable', /./, (r, body) => r.writeHead(503).end(JSON.stringify({ error: body }))],
    ['issuer_unavailable', /./, (r, body) => r.end(body)],
    ['issuer_unavailable', /./, (r, body) => r.end(JSON.stringify({ token_type: body }))],
    ['issuer_unavailable', /./, (r) => r.writeHead(302, { location: '/token' }).end()],
    ['issuer_unavailable', /./, (r) => r.writeHead(503, { 'www-authenticate': 'Basic realm="x"' }).end()],
    ['issuer_unavailable', /TIMEOUT/, () => undefined],
  ];
  for (const [code, detail, how] of cases) {
    answer = (response, body) => {
      assert.ok(body.includes(SECRET));
      how(response, body);
    };
    const { source, lines } = tokensOf(mean.url);
    await assert.rejects(source.token(), assertRefused(code, detail));
    assert.ok(!inspect(lines).includes(SECRET));
  }
  document = { token_endpoint: 'http://tokens.example/' };
  await assert.rejects(tokensOf(mean.url).source.token(), assertRefused('issuer_refused', /TLS/));
  document = { issuer: 'https://other.example' };
  await assert.rejects(tokensOf(mean.url).source.token(), assertRefused('issuer_unavailable', /./));
});

type Answer = (request: http.IncomingMessage, response: http.ServerResponse, body: string) => void;

async function serve(answer: Answer) {
  const server = http.createServer(async (request, response) =>
    answer(request, response, Buffer.concat(await request.toArray()).toString()),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}
