/** Tokens of an issuer that is good, wrong, slow, changing or gone; and those of people who are not the issuer. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, mock, test } from 'node:test';
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from 'jose';
import { AUDIENCE, startOidcIssuer } from '../../../../testing/stand-ins/oidc-issuer.ts';
import { createJwts, type OidcIssuer } from './jwts.ts';
import { createRecognise } from './recognise.ts';

type Pair = { publicKey: CryptoKey; privateKey: CryptoKey };

const lines: unknown[] = [];
const log = (fields: object) => void lines.push(fields);
const logger = { debug: log, info: log, warn: log, error: log };
const asked: string[] = [];
let answer: http.RequestListener;
let server: http.Server;
let issuer: string;
let pair: Pair;
let jwk: JWK;

before(async () => {
  pair = await generateKeyPair('RS256', { extractable: true });
  jwk = { ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'RS256', use: 'sig' };
  server = http.createServer((request, response) => {
    asked.push(request.url ?? '');
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => {
  server.close();
  server.closeAllConnections();
});
beforeEach(() => {
  asked.length = 0;
  lines.length = 0;
  answer = publish({});
});

const publish =
  ({ document = {}, keys = [jwk] }: { document?: object; keys?: JWK[] }): http.RequestListener =>
  ({ url }, response) => {
    const discovery = { issuer, jwks_uri: `${issuer}/keys`, ...document };
    response.end(JSON.stringify(url === '/keys' ? { keys } : discovery));
  };

const jwts = (oidc: Partial<OidcIssuer> = {}, now = Date.now) => {
  const settings = { issuer, audience: AUDIENCE, roleClaim: 'https://atoll.example/role', ...oidc };
  return createJwts({ oidc: settings, logger, now, timeoutMs: 200 });
};

const nowS = () => Math.floor(Date.now() / 1000);
const good = () => ({
  iss: issuer,
  aud: AUDIENCE,
  sub: 'runner-7@clients',
  exp: nowS() + 60,
  'https://atoll.example/role': 'client',
});

function sign(claims: object, header: object = {}, key: CryptoKey | Uint8Array = pair.privateKey) {
  return new SignJWT({ ...good(), ...claims })
    .setProtectedHeader({ alg: 'RS256', kid: 'k1', ...header })
    .sign(key);
}

const refused = (code: string, detail?: RegExp) => (error: Error & { code?: string }) => {
  assert.equal(error.code, code, error.stack);
  if (detail) assert.match(error.message, detail);
  return true;
};

test('role and tenant are what the claims say', async () => {
  const known = await jwts().recognise(await sign({}));
  assert.deepEqual([known.role, known.tenant, known.crossesTenants], ['client', 'default', false]);
  const admin = await jwts().recognise(await sign({ 'https://atoll.example/role': ['admin'] }));
  assert.deepEqual([admin.role, admin.crossesTenants], ['admin', true]);
  const walled = jwts({ tenantClaim: 'org' });
  assert.equal((await walled.recognise(await sign({ org: 'team-a' }))).tenant, 'team-a');
  for (const org of [undefined, '', 'Team A', 7, ['team-a']])
    await assert.rejects(
      walled.recognise(await sign({ org })),
      refused('forbidden', /does not name a tenant/),
    );
  const several = ['admin', 'client'];
  for (const role of ['root', '', 'Admin', 7, null, several, ['root'], { admin: true }])
    await assert.rejects(
      jwts().recognise(await sign({ 'https://atoll.example/role': role })),
      refused('forbidden', /must be one of/),
    );
  for (const role of [undefined, []])
    await assert.rejects(
      jwts().recognise(await sign({ 'https://atoll.example/role': role })),
      refused('forbidden', /no claim/),
    );
});

test('who asks is in the log, and the token is not', async () => {
  const token = await sign({});
  await jwts().recognise(token);
  const roleless = await sign({ 'https://atoll.example/role': undefined });
  await assert.rejects(jwts().recognise(roleless));
  const text = JSON.stringify(lines);
  assert.equal(text.match(/runner-7@clients/g)?.length, 2);
  for (const each of [token, roleless]) assert.ok(!text.includes(each.slice(-40)));
});

test('what is not for us, or not now, is refused', async () => {
  const cases: [claims: object, detail: RegExp][] = [
    [{ iss: 'https://other.example' }, /another issuer/],
    [{ iss: undefined }, /another issuer/],
    [{ aud: 'https://other.example' }, /another audience/],
    [{ aud: undefined }, /another audience/],
    [{ exp: nowS() - 60 }, /has expired/],
    [{ exp: undefined }, /when it ends/],
    [{ exp: 'soon' }, /when it ends/],
    [{ nbf: nowS() + 60 }, /not valid yet/],
  ];
  for (const [claims, detail] of cases)
    await assert.rejects(jwts().recognise(await sign(claims)), refused('unauthorized', detail));
  const several = await sign({ aud: ['https://other.example', AUDIENCE] });
  await jwts().recognise(several);
  // Clocks differ.
  await jwts().recognise(await sign({ exp: nowS() - 10, nbf: nowS() + 10 }));
  const late = jwts({}, () => Date.now() + 3_600_000);
  await assert.rejects(late.recognise(await sign({})), refused('unauthorized', /has expired/));
});

test('what the issuer did not sign is refused', async () => {
  const stranger = await generateKeyPair('RS256');
  const elliptic = await generateKeyPair('ES256');
  const [head = '', body = '', signature = ''] = (await sign({})).split('.');
  const admin = Buffer.from(JSON.stringify({ ...good(), 'https://atoll.example/role': 'admin' }));
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  const publicPem = new TextEncoder().encode(await exportSPKI(pair.publicKey));
  const forged = [
    await sign({}, {}, stranger.privateKey),
    await sign({}, { kid: 'k2' }, stranger.privateKey),
    await sign({}, { alg: 'ES256' }, elliptic.privateKey),
    await sign({}, { alg: 'HS256' }, publicPem),
    await sign({}, { alg: 'HS256', kid: undefined }, publicPem),
    `${none}.${body}.`,
    `${none}.${body}.${signature}`,
    `${head}.${admin.toString('base64url')}.${signature}`,
    `${head}.${body}.`,
    `${head}.${body}.${signature.slice(0, -4)}AAAA`,
  ];
  for (const token of forged)
    await assert.rejects(jwts().recognise(token), refused('unauthorized', /signed/), token);
  // A token brings no key of its own.
  const own = { jwk: await exportJWK(stranger.publicKey), jku: `${issuer}/mine`, kid: undefined };
  await assert.rejects(
    jwts().recognise(await sign({}, own, stranger.privateKey)),
    refused('unauthorized', /signed/),
  );
  assert.ok(!asked.includes('/mine'));
});

test('garbage costs the issuer nothing', async () => {
  const garbage = ['eyJ..', 'eyJhbGciOjF9.e30.', 'eyJhbGc.!.?', `eyJ${'.'.repeat(9000)}`];
  for (const token of [...garbage, `${await sign({})}${'A'.repeat(9000)}`])
    await assert.rejects(jwts().recognise(token), refused('unauthorized'), token);
  assert.deepEqual(asked, []);
});

test('the keys are asked for once, by however many', async () => {
  const { recognise } = jwts();
  const token = await sign({});
  await Promise.all(Array.from({ length: 20 }, () => recognise(token)));
  assert.deepEqual(asked, ['/.well-known/openid-configuration', '/keys']);
});

test('an issuer with a path, and one whose name ends in a slash', async () => {
  const withSlash = `${issuer}/`;
  answer = publish({ document: { issuer: withSlash } });
  for (const configured of [issuer, withSlash])
    await jwts({ issuer: configured }).recognise(await sign({ iss: withSlash }));
  const realm = `${issuer}/realms/a`;
  answer = publish({ document: { issuer: realm } });
  await jwts({ issuer: realm }).recognise(await sign({ iss: realm }));
  assert.equal(asked.at(-2), '/realms/a/.well-known/openid-configuration');
});

test('no keys is not the fault of the token', { timeout: 10_000 }, async () => {
  const token = await sign({});
  const unavailable = refused('issuer_unavailable');
  const silent: http.RequestListener = () => undefined;
  const elsewhere: http.RequestListener = (request, response) =>
    request.url === '/.well-known/openid-configuration'
      ? response.writeHead(302, { location: `${issuer}/elsewhere` }).end()
      : publish({})(request, response);
  const bad: http.RequestListener[] = [
    silent,
    elsewhere,
    (_request, response) => response.writeHead(500).end(),
    (_request, response) => response.end('<html>'),
    (_request, response) => response.end('{}'),
    (_request, response) => response.destroy(),
    publish({ document: { issuer: 'https://other.example' } }),
    (request, response) => (request.url === '/keys' ? undefined : publish({})(request, response)),
    (request, response) =>
      request.url === '/keys' ? response.writeHead(404).end() : publish({})(request, response),
    publish({ document: { jwks_uri: `${issuer}/other` } }),
  ];
  for (const each of bad) {
    answer = each;
    const { recognise } = jwts();
    await assert.rejects(recognise(token), unavailable, String(each));
    await assert.rejects(recognise(token), unavailable, String(each));
  }
});

test('keys are taken from no place that others could speak for', async () => {
  answer = publish({ document: { jwks_uri: 'http://keys.example/' } });
  await assert.rejects(jwts().recognise(await sign({})), ({ cause }: Error) =>
    /without TLS/.test(String(cause)),
  );
});

test('an issuer that comes back is asked again', async () => {
  const { recognise } = jwts();
  const token = await sign({});
  answer = (_request, response) => response.destroy();
  await assert.rejects(recognise(token), refused('issuer_unavailable'));
  answer = publish({});
  await recognise(token);
});

test('a real provider: its tokens, and new keys of its', async () => {
  const client = { id: 'ci', secret: 'ci-secret', claims: { 'https://atoll.example/role': 'runner' } };
  await using provider = await startOidcIssuer({ clients: [client] });
  const { recognise } = jwts({ issuer: provider.issuer });
  const old = await provider.token(client);
  assert.equal((await recognise(old)).role, 'runner');
  await assert.rejects(
    recognise(await provider.token(client, 'https://other.example')),
    refused('unauthorized', /another audience/),
  );

  provider.rotate();
  const token = await provider.token(client);
  await assert.rejects(recognise(token), refused('unauthorized', /signed/), 'asked again a while later only');
  const fetched = provider.asked.get('/jwks');
  mock.timers.enable({ apis: ['Date'], now: Date.now() + 15_000 });
  try {
    await Promise.all([recognise(token), recognise(token)]);
    assert.equal(provider.asked.get('/jwks'), (fetched ?? 0) + 1);
    await assert.rejects(recognise(old), refused('unauthorized', /signed/), 'its key is gone');

    await provider.down();
    await recognise(token);
    mock.timers.setTime(Date.now() + 20 * 60_000);
    await assert.rejects(recognise(token), refused('issuer_unavailable'));
  } finally {
    mock.timers.reset();
  }
});

test('what kind of secret it is, its form says', async () => {
  const by = (name: string) => async () => {
    throw new Error(name);
  };
  const options = { logger, now: Date.now, keys: { recognise: by('key') } };
  const tokens = {
    isToken: (secret: string) => secret.startsWith('atoll_session_'),
    recognise: () => assert.fail('token'),
  };
  const recognise = createRecognise({ ...options, tokens, oidc: undefined });
  await assert.rejects(recognise('atoll_session_eyJ.a'), /token/);
  for (const secret of ['atoll_eyJ', 'eyJ', 'a.b.c', 'eyJ.a', 'eyJ.a.b.c'])
    await assert.rejects(recognise(secret), /^Error: key/);
  await assert.rejects(recognise(await sign({})), refused('unauthorized', /no OIDC issuer/));
  const oidc = { issuer, audience: AUDIENCE, roleClaim: 'https://atoll.example/role' };
  const access = await createRecognise({ ...options, tokens, oidc })(await sign({}));
  assert.equal(access.role, 'client');
});
