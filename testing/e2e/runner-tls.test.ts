/** TLS between runners and their coordinator, by an authority of its own: over both links, and mutual over gRPC. */
import assert from 'node:assert/strict';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll } from '../atoll.ts';
import { type Authority, createAuthority } from '../certificates.ts';
import { startRunner } from '../runner-process.ts';

const ADDRESS = '127.0.0.1';
let authority: Authority;
let stranger: Authority;
let own: { cert: string; key: string };
let atoll: Atoll;
before(async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'atoll-test-'));
  authority = await createAuthority(join(dataDir, 'tls'));
  stranger = await createAuthority(join(dataDir, 'other-tls'));
  own = await authority.issue(ADDRESS);
  const dialIn = ['--grpc-port', '0', '--grpc-tls-cert', own.cert, '--grpc-tls-key', own.key];
  atoll = await startAtoll({
    dataDir,
    args: ['--no-runner', ...dialIn, '--grpc-tls-ca', authority.ca],
    env: { NODE_EXTRA_CA_CERTS: authority.ca },
  });
  await deployProgram(atoll.client, 'versatile', versatile);
});
after(() => atoll[Symbol.asyncDispose]());

const showing = ({ cert, key }: { cert: string; key: string }) => ['--tls-cert', cert, '--tls-key', key];

for (const link of ['http', 'grpc'] as const)
  test(`${link}: a session on a runner with a certificate`, { timeout: 60_000 }, async () => {
    const args = [...showing(own), ...(link === 'grpc' ? ['--tls-ca', authority.ca] : [])];
    await using runner = await startRunner(atoll, `by-${link}`, { link, args });
    assert.match(runner.url, link === 'http' ? /^https:/ : /^grpcs:/);
    const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
    assert.equal(session.runnerId, runner.id);
    const events = await Array.fromAsync(atoll.client.send(session.id, { content: 'emit 3000 200' }));
    assert.equal(events.filter(({ event }) => event === 'message').length, 3001);
    await atoll.client.writeFile(session.id, 'big', Buffer.alloc(1_000_000, 'z'));
    await atoll.client.call('session.end', { sessionId: session.id });
  });

const refused: [string, () => Promise<string[]>, RegExp][] = [
  ['none of its own', async () => ['--tls-ca', authority.ca], /cannot reach grpcs:/],
  [
    'one of another authority',
    async () => ['--tls-ca', authority.ca, ...showing(await stranger.issue(ADDRESS))],
    /cannot reach grpcs:/,
  ],
  [
    'another authority for the server’s',
    async () => ['--tls-ca', stranger.ca, ...showing(own)],
    /cannot reach grpcs:\/\/\S+: (self-signed certificate|unable to (verify|get))/,
  ],
];
for (const [what, certificates, reason] of refused)
  test(`a runner that dials with ${what}: it does not come in, and says so`, {
    timeout: 30_000,
  }, async () => {
    const args = [...(await certificates()), '--once'];
    await assert.rejects(startRunner(atoll, 'refused', { link: 'grpc', args }), reason);
  });
