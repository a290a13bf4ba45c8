/**
 * Who is asking, end to end: machines get their tokens from a real OIDC provider, and call a real server with them; an
 * executor outside of any sandbox speaks through `atoll gateway`, which holds a client's secret and tells nobody.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createSessionClient } from '@atoll/client';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, filesBelow, startAtoll, until } from '../atoll.ts';
import { assertProblem, createAsk, json } from '../raw-http.ts';
import { AUDIENCE, type OidcIssuerStandIn, startOidcIssuer } from '../stand-ins/oidc-issuer.ts';

const MAIN = fileURLToPath(new URL('../../packages/cli/src/main.mjs', import.meta.url));
const SECRET = 'marked-client-secret';
const ROLE = 'https://atoll.example/role';
const TENANT = 'https://atoll.example/tenant';

const machine = (id: string, role?: string, tenant?: string) => ({
  id,
  secret: `${SECRET}-${id}`,
  claims: { ...(role && { [ROLE]: role }), ...(tenant && { [TENANT]: tenant }) },
});
const clients = {
  admin: machine('admin', 'admin', 'default'),
  client: machine('client', 'client', 'team-a'),
  neighbour: machine('neighbour', 'client', 'team-b'),
  runner: machine('runner', 'runner', 'team-a'),
  stranger: machine('stranger', 'runner', 'team-b'),
  roleless: machine('roleless', undefined, 'team-a'),
  root: machine('root', 'root', 'team-a'),
  homeless: machine('homeless', 'admin'),
};

let provider: OidcIssuerStandIn;
let atoll: Atoll;
let scratch: string;
let sessionId: string;

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'atoll-test-'));
  provider = await startOidcIssuer({ clients: Object.values(clients) });
  atoll = await startAtoll({
    args: ['--log-level', 'debug', '--oidc-role-claim', ROLE, '--oidc-tenant-claim', TENANT],
    env: { ATOLL_OIDC_ISSUER: provider.issuer, ATOLL_OIDC_AUDIENCE: AUDIENCE },
  });
  const { secret } = await atoll.client.call('key.create', { role: 'client', tenant: 'team-a' });
  const files = [['agent.mjs', versatile] as const, ['atoll.json', PROGRAM] as const];
  const ask = createAsk(atoll);
  const agent = {
    name: 'versatile',
    files: files.map(([path, text]) => ({ path, content: Buffer.from(text).toString('base64') })),
  };
  assert.equal((await ask('POST', '/api/agents', { ...json(agent), key: secret })).status, 201);
  const made = await ask('POST', '/api/sessions', { ...json({ agent: 'versatile' }), key: secret });
  sessionId = (JSON.parse(made.text) as { session: { id: string } }).session.id;
});
after(async () => {
  await atoll?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
  await rm(scratch, { recursive: true, force: true });
});

const PROGRAM = JSON.stringify({ executor: { kind: 'program', command: ['node', 'agent.mjs'] } });

type Gateway = { child: ChildProcess; url: string; stdout: string; stderr: string };

/** `atoll gateway …`; its first line is waited for, or its end. */
async function gateway(words: readonly string[], env: Record<string, string> = {}): Promise<Gateway> {
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, [MAIN, 'gateway', '--json', ...words], {
    cwd: scratch,
    env: { PATH, HOME: scratch, ATOLL_OIDC_ISSUER: provider.issuer, ATOLL_OIDC_AUDIENCE: AUDIENCE, ...env },
  });
  const opened: Gateway = { child, url: '', stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    opened.stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    opened.stderr += chunk;
  });
  const closed = once(child, 'close').then(() => true);
  await until(async () => opened.stdout.includes('\n') || (await Promise.race([closed, false])));
  if (opened.stdout !== '') {
    const said = JSON.parse(opened.stdout.split('\n')[0] ?? '');
    assert.equal(said.ATOLL_API_URL, said.AGENT_ORCHESTRATOR_API_URL);
    opened.url = said.ATOLL_API_URL;
  }
  return opened;
}

async function end({ child }: Gateway): Promise<number | null> {
  const closed = once(child, 'close');
  child.kill('SIGTERM');
  await closed;
  return child.exitCode;
}

async function report(url: string, body: object = { event_type: 'step' }) {
  const response = await fetch(`${url}/events`, {
    method: 'POST',
    body: JSON.stringify({ session_id: sessionId, ...body }),
  });
  return { status: response.status, code: ((await response.json()) as { code?: string }).code };
}

test('a machine calls the API in the role and tenant that its token says', async () => {
  const ask = createAsk(atoll);
  const token = (name: keyof typeof clients) => provider.token(clients[name]);
  const path = `/api/sessions/${sessionId}`;
  const trade = `/api/internal/sessions/${sessionId}/token`;

  const client = await token('client');
  assert.equal((await ask('GET', path, { key: client })).status, 200);
  assertProblem(await ask('GET', '/api/keys', { key: client }), 403, 'forbidden');
  assertProblem(await ask('POST', trade, { ...json({ epoch: 1 }), key: client }), 403, 'forbidden');
  assertProblem(await ask('GET', path, { key: await token('neighbour') }), 404, 'not_found');

  const admin = await token('admin');
  assert.equal((await ask('GET', path, { key: admin })).status, 200);
  assert.equal((await ask('GET', '/api/keys', { key: admin })).status, 200);

  const runner = await token('runner');
  assert.equal((await ask('POST', trade, { ...json({ epoch: 1 }), key: runner })).status, 200);
  assertProblem(await ask('GET', path, { key: runner }), 403, 'forbidden');
  const stranger = await token('stranger');
  assertProblem(await ask('POST', trade, { ...json({ epoch: 1 }), key: stranger }), 404, 'not_found');

  for (const name of ['roleless', 'root', 'homeless'] as const)
    assertProblem(await ask('GET', path, { key: await token(name) }), 403, 'forbidden');
  const elsewhere = await provider.token(clients.client, 'https://other.example');
  assertProblem(await ask('GET', path, { key: elsewhere }), 401, 'unauthorized');
  assertProblem(await ask('GET', path, { key: `${client.slice(0, -6)}AAAAAA` }), 401, 'unauthorized');
  assert.match(atoll.stderr, /"sub":"client"/);
  for (const each of [client, admin, runner, elsewhere]) assert.ok(!atoll.stderr.includes(each.slice(-30)));
});

test('a server that cannot have the issuer’s keys says so, and takes API keys all the same', async () => {
  const env = { ATOLL_OIDC_ISSUER: 'http://127.0.0.1:9', ATOLL_OIDC_AUDIENCE: AUDIENCE };
  await using other = await startAtoll({ env });
  const ask = createAsk(other);
  const token = await provider.token(clients.client);
  assertProblem(await ask('GET', '/api/sessions', { key: token }), 503, 'issuer_unavailable');
  assert.equal((await ask('GET', '/api/sessions')).status, 200);
});

test('`atoll gateway` trades a client’s standing for the session’s token, and forwards', async () => {
  const secretFile = join(scratch, 'client-secret');
  await writeFile(secretFile, `${clients.runner.secret}\n`);
  const words = [
    '--session',
    sessionId,
    '--server',
    atoll.url,
    '--hostname',
    'my-laptop',
    '--profile',
    'mine',
  ];
  const own = ['--oidc-client-id', 'runner', '--oidc-client-secret-file', secretFile];
  const opened = await gateway([...words, ...own, '--log-level', 'debug']);
  const asked = provider.asked.get('/token');
  const client = createSessionClient({ url: opened.url, sessionId });
  await client.bind({ executorSessionId: 'outside', projectDir: '/here' });
  await client.addEvent('progress', { percent: 40 });
  await client.updateMetadata({ title: 'from outside' });
  const { session } = await atoll.client.call('session.show', { sessionId });
  assert.deepEqual(session.binding, {
    executorSessionId: 'outside',
    projectDir: '/here',
    hostname: 'my-laptop',
    executorProfile: 'mine',
  });
  assert.deepEqual(session.metadata, { title: 'from outside' });
  assert.equal(provider.asked.get('/token'), asked, 'one token serves all calls');
  assert.deepEqual(await report(opened.url, { event_type: '' }), { status: 400, code: 'invalid_request' });
  const other = await fetch(`${opened.url}/api/agents`);
  assert.deepEqual(
    [other.status, ((await other.json()) as { code: string }).code],
    [403, 'forbidden_for_session'],
  );
  assert.equal(await end(opened), 0);

  const keyed = await atoll.client.call('key.create', { role: 'runner', tenant: 'team-a' });
  const byKey = await gateway(words, { ATOLL_API_KEY: keyed.secret });
  assert.deepEqual(await report(byKey.url), { status: 201, code: undefined });
  assert.equal(await end(byKey), 0);

  const { events } = await atoll.client.call('session.events', { sessionId, limit: 1000 });
  const stored = await Promise.all(
    (await filesBelow(atoll.dataDir)).map((file) =>
      readFile(join(atoll.dataDir, file), 'latin1').catch(() => ''),
    ),
  );
  for (const text of [opened.stdout, opened.stderr, atoll.stderr, JSON.stringify(events), ...stored])
    assert.ok(!text.includes(SECRET));
});

test('a gateway that cannot speak for a session says why, and does not open', {
  timeout: 60_000,
}, async () => {
  const words = ['--session', sessionId, '--server', atoll.url];
  const as = (id: keyof typeof clients, secret = clients[id].secret) => ({
    ATOLL_OIDC_CLIENT_ID: id,
    ATOLL_OIDC_CLIENT_SECRET: secret,
  });
  const refused: [words: string[], env: Record<string, string>, exitCode: number, says: RegExp][] = [
    [[], {}, 2, /--session SESSION is missing/],
    [words, {}, 2, /give a key with the role runner/],
    [words, { ATOLL_OIDC_CLIENT_ID: 'runner' }, 2, /ATOLL_OIDC_CLIENT_SECRET/],
    [words, { ...as('runner'), ATOLL_OIDC_ISSUER: 'http://login.example' }, 2, /must be an https URL/],
    [words, as('runner', `${SECRET}-wrong`), 1, /issuer_refused.*invalid_client/],
    [words, { ...as('runner'), ATOLL_OIDC_ISSUER: 'http://127.0.0.1:9' }, 1, /issuer_unavailable/],
    [words, as('client'), 1, /forbidden/],
    [words, as('stranger'), 1, /not_found/],
    [[...words, '--epoch', '7'], as('runner'), 1, /stale_epoch.*is at epoch 1, not at 7/],
    [['--session', sessionId, '--server', 'http://127.0.0.1:9'], as('runner'), 3, /coordinator_unreachable/],
  ];
  for (const [more, env, exitCode, says] of refused) {
    const { child, stdout, stderr } = await gateway(more, env);
    assert.deepEqual([child.exitCode, stdout], [exitCode, ''], stderr);
    assert.match(stderr, says);
    assert.ok(!stderr.includes(SECRET));
  }
});

test('the server goes away, and the gateway says so', async () => {
  await using other = await startAtoll();
  await deployProgram(other.client, 'versatile', versatile);
  const { session } = await other.client.call('session.create', { agent: 'versatile' });
  const env = { ATOLL_API_KEY: other.key };
  const opened = await gateway(
    ['--session', session.id, '--server', other.url, '--log-level', 'silent'],
    env,
  );
  const body = { session_id: session.id, event_type: 'step' };
  assert.equal((await report(opened.url, body)).status, 201);
  await other.stop();
  assert.deepEqual(await report(opened.url, body), { status: 502, code: 'coordinator_unreachable' });
  await end(opened);
});

test('`atoll gateway --stub` shows each call as a line', async () => {
  const opened = await gateway(['--stub', '--session', sessionId, '--hostname', 'here']);
  assert.deepEqual(await report(opened.url), { status: 201, code: undefined });
  assert.deepEqual(await report(opened.url, {}), { status: 400, code: 'invalid_request' });
  const taken = await gateway(['--stub', '--port', new URL(opened.url).port]);
  assert.match(taken.stderr, /is taken/);
  assert.equal(await end(opened), 0);
  const [first = '', ...calls] = opened.stdout.trimEnd().split('\n');
  assert.equal(JSON.parse(first).ATOLL_SESSION_ID, sessionId);
  const path = `/api/sessions/${sessionId}/events`;
  const [sent, bad] = calls.map((line) => JSON.parse(line));
  assert.deepEqual(sent, {
    method: 'POST',
    path: '/events',
    status: 201,
    forwarded: { method: 'POST', path, body: { event_type: 'step' } },
  });
  assert.deepEqual([bad.status, bad.error.code, calls.length], [400, 'invalid_request', 2]);
});
