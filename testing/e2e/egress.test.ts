/**
 * Agents in real sandboxes, by the proxy of their gateway: hosts that are listed and hosts that are not, and credentials
 * that curl, git and npm inside use without ever having them.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { AccessRecord } from '@atoll/protocol/schemas/access';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll, until } from '../atoll.ts';
import { gitServer } from '../stand-ins/git-server.ts';
import { createServers, type Servers } from '../stand-ins/https-server.ts';
import { npmRegistry } from '../stand-ins/npm-registry.ts';

/** Found in no sandbox and no answer. */
const MARK = 'atollmark7f3a9c';
const GIT = ownAddress();
const PLAIN = ownAddress();
/** npm takes a registry by a name only, over a proxy: this machine's. */
const NPM = hostname().toLowerCase();
const basic = `Basic ${btoa(`x-access-token:${MARK}-git`)}`;

let directory: string;
let servers: Servers | undefined;
const asked: (string | undefined)[] = [];

const echo: RequestListener = (request, response) => {
  asked.push(request.headers.authorization);
  if (request.url === '/away') return response.writeHead(302, { location: 'http://169.254.169.254/' }).end();
  response.end(`there: ${request.headers.authorization}`);
};

/** Of loopback, where no other run of this is. */
function ownAddress(): string {
  return `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(2, 255)}`;
}

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'atoll-egress-'));
  const open = createServers(join(directory, 'ca.pem'));
  const git = gitServer({ root: join(directory, 'git'), authorization: basic });
  const registry = npmRegistry({
    url: `https://${NPM}`,
    name: 'small-thing',
    tarball: await tarball(),
    authorization: `Bearer ${MARK}-npm`,
  });
  await makeRepository(join(directory, 'git', 'acme', 'notes.git'));
  try {
    await open.https(GIT, (request, response) =>
      (request.url?.startsWith('/acme/') ? git : echo)(request, response),
    );
    await open.https(NPM, registry);
    await open.https(PLAIN, echo);
    await open.http(PLAIN, echo);
    servers = open;
  } catch (error) {
    open.close();
    if (!(error instanceof Error && 'code' in error && error.code === 'EACCES')) throw error;
  }
});
after(async () => {
  servers?.close();
  await rm(directory, { recursive: true, force: true });
});

async function makeRepository(bare: string): Promise<void> {
  const work = join(directory, 'work');
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@example.org', ...args], {
      cwd: work,
      stdio: 'pipe',
    });
  await mkdir(work, { recursive: true });
  git('init', '-q', '-b', 'main');
  // More than one packet, so that there is something to stream.
  await writeFile(join(work, 'notes.txt'), 'note\n'.repeat(200_000));
  git('add', '.');
  git('commit', '-qm', 'notes');
  execFileSync('git', ['clone', '-q', '--bare', work, bare], { stdio: 'pipe' });
  execFileSync('git', ['-C', bare, 'config', 'http.receivepack', 'true']);
}

async function tarball(): Promise<Buffer> {
  const inside = join(directory, 'package');
  await mkdir(inside, { recursive: true });
  await writeFile(
    join(inside, 'package.json'),
    JSON.stringify({ name: 'small-thing', version: '1.0.0', main: 'x.js' }),
  );
  await writeFile(join(inside, 'x.js'), 'module.exports = 42;\n');
  return execFileSync('tar', ['-czf', '-', '-C', directory, 'package']);
}

async function open(atoll: Atoll, name: string, egress: string[] | undefined): Promise<string> {
  await deployProgram(atoll.client, name, versatile, egress === undefined ? {} : { egress });
  return (await atoll.client.call('session.create', { agent: name })).session.id;
}

async function exec(atoll: Atoll, sessionId: string, command: string) {
  return atoll.client.call('session.exec', { sessionId, command, timeoutMs: 60_000 });
}

async function run(atoll: Atoll, sessionId: string, command: string): Promise<string> {
  const end = await exec(atoll, sessionId, command);
  assert.equal(end.exitCode, 0, `${command}\n${end.stdout}\n${end.stderr}`);
  return end.stdout;
}

type Access = AccessRecord & { event_type: string };

async function accessesOf(atoll: Atoll, sessionId: string): Promise<Access[]> {
  const { events } = await atoll.client.call('session.events', { sessionId, limit: 1000 });
  const reports = events.filter(({ event }) => event === 'report').map(({ data }) => data as Access);
  return reports.filter(({ event_type }) => event_type === 'access');
}

for (const driver of ['bubblewrap', 'process'])
  describe(`an agent’s way out, with the driver ${driver}`, () => {
    let atoll: Atoll;
    let sessionId: string;
    before(async () => {
      atoll = await startAtoll({
        args: ['--driver', driver],
        env: { NODE_EXTRA_CA_CERTS: join(directory, 'ca.pem') },
      });
      const set = (name: string, value: string, use: object) =>
        atoll.client.call('credential.set', { name, value, ...use } as never);
      await set('git', `${MARK}-git`, { kind: 'basic', username: 'x-access-token', hosts: [GIT] });
      await set('npm', `${MARK}-npm`, { kind: 'bearer', hosts: [NPM] });
      // Where the name is one of public DNS by its looks, its address is listed, too.
      sessionId = await open(atoll, 'outgoing', [GIT, NPM, PLAIN, (await lookup(NPM)).address]);
    });
    after(() => atoll[Symbol.asyncDispose]());

    const needs = (t: { skip(why: string): void }) => {
      if (!servers) t.skip('this user may not listen on port 443');
      return servers === undefined;
    };

    test('listed hosts are reached, others refused; both are in the log', async (t) => {
      if (needs(t)) return;
      assert.equal(await run(atoll, sessionId, `curl -sS http://${PLAIN}/`), 'there: undefined');
      const blind = await exec(atoll, sessionId, `curl -sS https://${PLAIN}/`);
      assert.notEqual(blind.exitCode, 0, 'its certificate is its own, which nobody inside trusts');
      const refused = await run(atoll, sessionId, 'curl -sS http://127.80.0.5/');
      assert.equal((JSON.parse(refused) as { code: string }).code, 'egress_refused');
      const tunnel = await exec(atoll, sessionId, 'curl -sS https://registry.example.org/');
      assert.match(tunnel.stderr, /403/);
      const away = await run(atoll, sessionId, `curl -sSL http://${PLAIN}/away`);
      assert.equal((JSON.parse(away) as { code: string }).code, 'egress_refused');
      const seen = await until(async () => {
        const all = await accessesOf(atoll, sessionId);
        return all.length >= 6 && all;
      });
      assert.deepEqual(
        seen.map(({ method, host, port, decision, code, status }) => [
          method,
          host,
          port,
          decision,
          code ?? status,
        ]),
        [
          ['GET', PLAIN, 80, 'allowed', 200],
          ['CONNECT', PLAIN, 443, 'allowed', undefined],
          ['GET', '127.80.0.5', 80, 'refused', 'egress_refused'],
          ['CONNECT', 'registry.example.org', 443, 'refused', 'egress_refused'],
          ['GET', PLAIN, 80, 'allowed', 302],
          ['GET', '169.254.169.254', 80, 'refused', 'egress_refused'],
        ],
      );
    });

    test('git clones and pushes with a credential that it does not have', async (t) => {
      if (needs(t)) return;
      const url = `https://${GIT}/acme/notes.git`;
      await run(
        atoll,
        sessionId,
        `set -e; git clone -q ${url} notes; cd notes; test -s notes.txt; date > new.txt; git add .; git -c user.name=a -c user.email=a@example.org commit -qm new; git push -q origin main`,
      );
      const head = (path: string) => `git -C ${path} rev-parse main`;
      const pushed = execFileSync('sh', ['-c', head(join(directory, 'git', 'acme', 'notes.git'))]).toString();
      assert.equal(await run(atoll, sessionId, head('notes')), pushed);
    });

    test('npm installs from a registry that wants a token', async (t) => {
      if (needs(t)) return;
      const install = `mkdir -p app && cd app && echo '{}' > package.json && npm install --registry=https://${NPM} --no-audit --no-fund small-thing && node -p 'require("small-thing")'`;
      assert.match(await run(atoll, sessionId, install), /42\n$/);
      const used = (await accessesOf(atoll, sessionId)).filter(({ host }) => host === NPM);
      assert.ok(
        used.length >= 2 && used.every(({ credential }) => credential === 'npm'),
        JSON.stringify(used),
      );
    });

    test('fetch of Node and curl get there by themselves, the gateway itself directly', async (t) => {
      if (needs(t)) return;
      const source = `fetch('https://${GIT}/x').then((reply) => reply.text()).then(console.log)`;
      assert.equal(await run(atoll, sessionId, `node -e "${source}"`), 'there: Basic [removed by Atoll]\n');
      assert.equal(
        await run(atoll, sessionId, `curl -sS https://${GIT}/x`),
        'there: Basic [removed by Atoll]',
      );
      assert.ok(asked.slice(-2).every((each) => each === basic));
      const own = `fetch(process.env.ATOLL_API_URL + '/sessions/${sessionId}').then((reply) => console.log(reply.status))`;
      assert.equal(await run(atoll, sessionId, `node -e "${own}"`), '200\n');
    });

    test('no credential is found inside, nor in the log', async (t) => {
      if (needs(t)) return;
      const hunt = `env | grep -c ${MARK}; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | grep -ac ${MARK}.git; grep -rl ${MARK} "$HOME" . /run/atoll 2>/dev/null; true`;
      // The hunt itself has it in its command line.
      const found = (await run(atoll, sessionId, hunt.replaceAll(MARK, `${MARK.slice(0, -1)}[c]`)))
        .trim()
        .split('\n');
      assert.deepEqual(found, ['0', '0']);
      const key = await run(
        atoll,
        sessionId,
        'cat "$NODE_EXTRA_CA_CERTS" "$SSL_CERT_FILE" | grep -c "PRIVATE KEY" || true',
      );
      assert.equal(key.trim(), '0');
      const { events } = await atoll.client.call('session.events', { sessionId, limit: 1000 });
      assert.ok(!JSON.stringify(events).includes(MARK));
      assert.ok(!atoll.stderr.includes(MARK));
    });
  });

test('an agent that lists nothing gets nowhere, and is told why', async () => {
  await using atoll = await startAtoll();
  const sessionId = await open(atoll, 'closed', undefined);
  const refused = await run(atoll, sessionId, 'curl -sS http://one.example.org/');
  assert.match(refused, /egress_refused.*one\.example\.org.*atoll\.json/);
  assert.equal(await run(atoll, sessionId, 'echo "$NODE_EXTRA_CA_CERTS$NODE_USE_ENV_PROXY"'), '\n');
  const [access] = await until(async () => {
    const all = await accessesOf(atoll, sessionId);
    return all.length > 0 && all;
  });
  assert.deepEqual([access?.host, access?.decision], ['one.example.org', 'refused']);
});

test('the hosts of an agent are checked when it is deployed', async () => {
  await using atoll = await startAtoll();
  for (const egress of [
    ['*'],
    ['*.com'],
    ['https://one.example.org'],
    ['one.example.org:8080'],
    ['0x7f.1'],
    'one.example.org',
  ])
    await assert.rejects(deployProgram(atoll.client, 'bad', versatile, { egress }), {
      code: 'invalid_agent',
    });
  await deployProgram(atoll.client, 'good', versatile, {
    egress: ['ONE.example.org', '*.example.com', '::1', '10.0.0.5'],
  });
});

test('a sandbox reads its certificates, and changes none', async () => {
  await using atoll = await startAtoll();
  const sessionId = await open(atoll, 'trusting', ['one.example.org']);
  const ca = await run(atoll, sessionId, 'cat "$NODE_EXTRA_CA_CERTS"');
  assert.match(ca, /BEGIN CERTIFICATE/);
  assert.ok((await run(atoll, sessionId, 'cat "$CURL_CA_BUNDLE"')).endsWith(ca));
  const { exitCode } = await exec(atoll, sessionId, 'echo x > "$NODE_EXTRA_CA_CERTS"');
  assert.notEqual(exitCode, 0);
  const other = await open(atoll, 'other', ['one.example.org']);
  assert.notEqual(await run(atoll, other, 'cat "$NODE_EXTRA_CA_CERTS"'), ca, 'each has its own');
  await atoll.client.call('session.end', { sessionId });
  const files = execFileSync('ls', [join(atoll.dataDir, 'runner', 'run')]).toString();
  assert.equal(files.match(/ca\.pem/g)?.length, 1, files);
});
