/**
 * One hunt for every secret that there is (I7): a model key of the server's, stored keys for models, an MCP server and
 * hosts, an OIDC client's secret, the key of the store, the admin key and the session's token. A hostile agent in a
 * bubblewrap sandbox finds none, in whatever form it was added; neither does who reads logs, events or the database.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Atoll, deploy, filesBelow, startAtoll, until } from '../atoll.ts';
import { backwards } from '../attack.ts';
import { canaries, hunt, hunter, hunterConfig, modes, telltale } from '../hunt.ts';
import { createServers, type Servers } from '../stand-ins/https-server.ts';
import { AUDIENCE, type OidcIssuerStandIn, startOidcIssuer } from '../stand-ins/oidc-issuer.ts';

const MAIN = fileURLToPath(new URL('../../packages/cli/src/main.mjs', import.meta.url));
const ROLE = 'https://atoll.example/role';
const TENANT = 'https://atoll.example/tenant';
/** Some of letters that a header's name may have, some that URLs and JSON write in another way. */
const secrets = {
  ownAnthropic: 'mark7f3a-own-anthropic',
  ownOpenai: 'mark7f3a/own+openai==',
  storedAnthropic: 'mark7f3a/stored+anthropic=',
  storedOpenai: 'mark7f3a-stored-openai',
  mcp: 'mark7f3a-of-the-mcp-server',
  lost: 'mark7f3a-of-a-server-that-is-down',
  header: 'mark7f3a/in+a-header',
  bearer: 'mark7f3a-of-a-bearer',
  basic: 'mark7f3a/pass+word??>>',
  oidc: 'mark7f3a-of-the-oidc-client',
};
const basic = Buffer.from(`git:${secrets.basic}`).toString('base64');
const hosts = { header: ownAddress(), bearer: ownAddress(), basic: ownAddress() };

let scratch: string;
let provider: OidcIssuerStandIn;
let plain: http.Server;
let upstream: string;
let servers: Servers | undefined;
let atoll: Atoll;
/** What came to the services: only there the secrets are. */
const told: string[] = [];

/** Of loopback, where no other run of this is. */
function ownAddress(): string {
  return `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(2, 255)}`;
}

const listener: http.RequestListener = (request, response) => {
  told.push(JSON.stringify(request.headers));
  void telltale(request, response);
};

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'atoll-secrets-'));
  const claims = { [ROLE]: 'runner', [TENANT]: 'default' };
  provider = await startOidcIssuer({ clients: [{ id: 'runner', secret: secrets.oidc, claims }] });
  plain = http.createServer(listener).listen(0, '127.0.0.1');
  await once(plain, 'listening');
  upstream = `http://127.0.0.1:${(plain.address() as AddressInfo).port}`;
  const open = createServers(join(scratch, 'ca.pem'));
  try {
    for (const host of Object.values(hosts)) await open.https(host, listener);
    servers = open;
  } catch (error) {
    open.close();
    if (!(error instanceof Error && 'code' in error && error.code === 'EACCES')) throw error;
  }
  atoll = await startAtoll({
    args: ['--log-level', 'trace', '--oidc-role-claim', ROLE, '--oidc-tenant-claim', TENANT],
    env: {
      ATOLL_OIDC_ISSUER: provider.issuer,
      ATOLL_OIDC_AUDIENCE: AUDIENCE,
      ANTHROPIC_API_KEY: secrets.ownAnthropic,
      ANTHROPIC_BASE_URL: upstream,
      OPENAI_API_KEY: secrets.ownOpenai,
      OPENAI_BASE_URL: upstream,
      ...(servers ? { NODE_EXTRA_CA_CERTS: join(scratch, 'ca.pem') } : {}),
    },
  });
  await store();
  const config = { ...hunterConfig, egress: Object.values(hosts) };
  for (const name of ['with-own', 'with-stored'])
    await deploy(atoll.client, name, { ...hunter, 'atoll.json': JSON.stringify(config) });
});
after(async () => {
  await atoll?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
  plain?.close();
  servers?.close();
  await rm(scratch, { recursive: true, force: true });
});

async function store(): Promise<void> {
  const stored = { agents: ['with-stored'], url: upstream };
  for (const use of [
    { name: 'anthropic', kind: 'anthropic', value: secrets.storedAnthropic, ...stored },
    { name: 'openai', kind: 'openai', value: secrets.storedOpenai, ...stored },
    { name: 'mcp', kind: 'mcp', url: upstream, value: secrets.mcp },
    { name: 'lost', kind: 'mcp', url: 'http://127.0.0.1:9', value: secrets.lost },
    { name: 'header', kind: 'header', hosts: [hosts.header], header: 'X-Token', value: secrets.header },
    { name: 'bearer', kind: 'bearer', hosts: [hosts.bearer], value: secrets.bearer },
    { name: 'basic', kind: 'basic', hosts: [hosts.basic], username: 'git', value: secrets.basic },
  ] as const)
    await atoll.client.call('credential.set', use as never);
}

/** All that anybody answers, and says that is wrong. */
function script(): string {
  const curl = `curl -si --max-time 20`;
  const urls = [
    '-X POST "$ANTHROPIC_BASE_URL/v1/messages',
    '-X POST "$OPENAI_BASE_URL/responses',
    '"$ATOLL_API_URL/mcp/mcp',
    '"$ATOLL_API_URL/mcp/lost',
    ...Object.values(servers ? hosts : {}).map((host) => `"https://${host}/`),
  ];
  const asked = urls.flatMap((url) => [
    ...modes.map((mode) => `${curl} ${url}?mode=${mode}"`),
    `${curl} -H 'range: bytes=0-20' ${url}"`,
    `${curl} -X TRACE ${url}"`,
    `${curl} -X POST -d '{' ${url}"`,
  ]);
  const own = [
    'credentials',
    'keys',
    'sessions/$ATOLL_SESSION_ID',
    'sessions/$ATOLL_SESSION_ID/files',
    'nope',
  ];
  return [
    ...asked,
    ...own.map((path) => `${curl} "$ATOLL_API_URL/api/${path}"`),
    'curl -sv http://203.0.113.1/',
    'env',
  ].join('\n');
}

/** As they are, and as services, URLs and JSON write them; what a text begins with is enough of its base64. */
function formsOf(secret: string): string[] {
  const base64 = Buffer.from(secret).toString('base64').slice(0, 24);
  return [...new Set([secret, encodeURIComponent(secret), secret.replaceAll('/', '\\/'), base64])];
}

/** `atoll gateway`, which speaks for a session with the secret of an OIDC client. */
async function standAlone(sessionId: string): Promise<{ child: ChildProcess; said: string[]; url: string }> {
  const secretFile = join(scratch, 'client-secret');
  await writeFile(secretFile, secrets.oidc, { mode: 0o600 });
  const words = ['--session', sessionId, '--server', atoll.url, '--oidc-client-id', 'runner'];
  const more = ['--oidc-client-secret-file', secretFile, '--log-level', 'trace', '--json'];
  const child = spawn(process.execPath, [MAIN, 'gateway', ...words, ...more], {
    env: {
      PATH: process.env.PATH,
      HOME: scratch,
      ATOLL_OIDC_ISSUER: provider.issuer,
      ATOLL_OIDC_AUDIENCE: AUDIENCE,
    },
  });
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => void said.push(chunk.toString()));
  const url = await until(async () => /"ATOLL_API_URL":"([^"]+)"/.exec(said.join(''))?.[1]);
  return { child, said, url };
}

async function ask(url: string): Promise<string> {
  const response = await fetch(url);
  return JSON.stringify([...response.headers]) + (await response.text());
}

for (const agent of ['with-own', 'with-stored'] as const)
  test(`a hunt for every secret finds none: ${agent} keys for models`, { timeout: 300_000 }, async (t) => {
    const { id: sessionId } = (await atoll.client.call('session.create', { agent })).session;
    const outside = await standAlone(sessionId);
    t.after(() => outside.child.kill('SIGKILL'));
    const answers = [];
    for (const path of ['/x', `/sessions/${sessionId}`, '/api/keys', '/bind', '/anthropic/v1/messages'])
      answers.push(await ask(outside.url + path));

    const kept = await Promise.all(
      ['secret.key', 'admin.key'].map((file) => readFile(join(atoll.dataDir, file), 'utf8')),
    );
    const marks = [...Object.values(secrets), basic.replace(/=+$/, ''), ...kept.map((key) => key.trim())]
      .flatMap(formsOf)
      .concat('atoll_session_ey');
    const content = JSON.stringify({
      script: script(),
      hunt,
      marks: [...canaries, ...marks].map(backwards),
    });
    const events = await Array.fromAsync(atoll.client.send(sessionId, { content }));
    const hunted = events.map(({ text }) => JSON.parse(text)).find(({ type }) => type === 'hunted');
    assertHunted(hunted.found);
    assert.ok(hunted.said.split('[removed by Atoll]').length > 20, hunted.said.slice(0, 5000));

    const exit = once(outside.child, 'exit');
    outside.child.kill('SIGTERM');
    await exit;
    const log = await atoll.client.call('session.events', { sessionId, limit: 1000 });
    // What the agent was sent stands there backwards.
    const texts = {
      answers,
      said: hunted.said,
      gateway: outside.said,
      log: log.events,
      stderr: atoll.stderr,
    };
    for (const [where, text] of Object.entries(texts)) {
      const written = typeof text === 'string' ? text : JSON.stringify(text);
      for (const mark of marks) assert.ok(!written.includes(mark), `${mark} in ${where}`);
    }
    assert.deepEqual(await filesWith(marks), []);
    assertUsed(agent === 'with-own' ? ['ownAnthropic', 'ownOpenai'] : ['storedAnthropic', 'storedOpenai']);
    await atoll.client.call('session.end', { sessionId });
  });

/** Nothing but what was there to be found: in every place that a secret could be in. */
function assertHunted(found: string): void {
  const lines = found.trim().split('\n');
  const at = lines.flatMap((line) => /^found (\d+) (\w+)/.exec(line)?.slice(1, 3).join(' ') ?? []);
  for (const canary of ['0 environ', '1 cmdline', '2 file', '3 memory'])
    assert.ok(at.includes(canary), `the hunt misses ${canary}:\n${found}`);
  assert.deepEqual(
    lines.filter((line) => Number(/^found (\d+) /.exec(line)?.[1]) >= canaries.length),
    [],
  );
  assert.ok(lines.filter((line) => line.startsWith('read memory of')).length >= 2, 'agent and bridge');
}

/** Its own two files aside, which are what is to be kept. */
async function filesWith(marks: readonly string[]): Promise<string[]> {
  const files = (await filesBelow(atoll.dataDir)).filter(
    (file) => !/^(secret|admin)\.key$|\.sock$/.test(file),
  );
  const found = await Promise.all(
    files.map(async (file) => {
      const bytes = await readFile(join(atoll.dataDir, file)).catch(() => Buffer.alloc(0));
      return marks.filter((mark) => bytes.includes(mark)).map((mark) => `${mark} in ${file}`);
    }),
  );
  return found.flat();
}

/** A secret that was never added proves nothing. */
function assertUsed(models: readonly (keyof typeof secrets)[]): void {
  const text = told.join('\n');
  const added = [...models, 'mcp', ...(servers ? (['header', 'bearer'] as const) : [])] as const;
  for (const name of added) assert.ok(text.includes(secrets[name]), name);
  if (servers) assert.ok(text.includes(basic));
  assert.ok(!text.includes('"range"'));
}
