/**
 * Runners that prove themselves with tokens: of a real OIDC provider, by both links. A token ends long before a runner
 * does.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import { createRegistration } from '@atoll/runner/registration';
import { access } from '@atoll/server/access';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll } from '../atoll.ts';
import { description, dial, silent, startGrpcCoordinator } from '../grpc-pair.ts';
import { startRunner } from '../runner-process.ts';
import { AUDIENCE, type OidcIssuerStandIn, startOidcIssuer } from '../stand-ins/oidc-issuer.ts';

describe('of an OIDC provider', () => {
  const machine = (id: string, role: string, tenant: string) => ({
    id,
    secret: `marked-secret-of-${id}`,
    claims: { role, tenant },
  });
  const clients = {
    runner: machine('runner', 'runner', 'default'),
    foreign: machine('foreign', 'runner', 'elsewhere'),
    client: machine('client', 'client', 'default'),
  };
  let provider: OidcIssuerStandIn;
  let atoll: Atoll;
  before(async () => {
    provider = await startOidcIssuer({ clients: Object.values(clients) });
    atoll = await startAtoll({
      args: ['--no-runner', '--grpc-port', '0', '--oidc-role-claim', 'role', '--oidc-tenant-claim', 'tenant'],
      env: { ATOLL_OIDC_ISSUER: provider.issuer, ATOLL_OIDC_AUDIENCE: AUDIENCE },
    });
    await deployProgram(atoll.client, 'versatile', versatile);
  });
  after(async () => {
    await atoll[Symbol.asyncDispose]();
    await provider[Symbol.asyncDispose]();
  });

  function start(link: 'http' | 'grpc', name: string, { id, secret }: { id: string; secret: string }) {
    const env = {
      ATOLL_OIDC_ISSUER: provider.issuer,
      ATOLL_OIDC_AUDIENCE: AUDIENCE,
      ATOLL_OIDC_CLIENT_ID: id,
      ATOLL_OIDC_CLIENT_SECRET: secret,
    };
    return startRunner(atoll, name, { link, key: '', env, args: ['--label', `which=${name}`] });
  }

  for (const link of ['http', 'grpc'] as const) {
    test(`${link}: it registers, runs a session, and speaks for it to the API`, async () => {
      await using runner = await start(link, link, clients.runner);
      const demands = { labels: { which: link } };
      const { session } = await atoll.client.call('session.create', { agent: 'versatile', demands });
      assert.deepEqual([session.status, session.runnerId], ['idle', runner.id]);
      const events = await Array.fromAsync(atoll.client.send(session.id, { content: 'hello' }));
      assert.equal(JSON.parse(events.at(-1)?.text ?? '{}').status, 'completed');
      const body = JSON.stringify({ session_id: session.id, said: link });
      const patch = `fetch(process.env.ATOLL_API_URL + '/metadata', { method: 'PATCH', body: ${JSON.stringify(body)} }).then((answer) => console.log(answer.status))`;
      const { stdout } = await atoll.client.call('session.exec', {
        sessionId: session.id,
        command: `node -e "$(echo ${Buffer.from(patch).toString('base64')} | base64 -d)"`,
      });
      assert.equal(stdout, '200\n');
      const { session: after } = await atoll.client.call('session.show', { sessionId: session.id });
      assert.deepEqual(after.metadata, { said: link });
      await atoll.client.call('session.end', { sessionId: session.id });
      assert.ok(!`${runner.stderr}${atoll.stderr}`.includes('marked-secret'));
    });

    test(`${link}: one of another tenant gets none of this one's sessions`, async () => {
      await using runner = await start(link, `${link}-foreign`, clients.foreign);
      const demands = { labels: { which: `${link}-foreign` } };
      await assert.rejects(atoll.client.call('session.create', { agent: 'versatile', demands }), {
        code: 'no_runner',
      });
      assert.ok(runner.pid > 0);
    });

    test(`${link}: a client that is no runner, or has no such secret, ends and says why`, async () => {
      await assert.rejects(start(link, `${link}-client`, clients.client), /needs a key with the role runner/);
      const wrong = { ...clients.runner, secret: 'marked-secret-wrong' };
      await assert.rejects(start(link, `${link}-wrong`, wrong), (error: Error) => {
        assert.match(error.message, /invalid_client/);
        assert.ok(!error.message.includes('marked-secret'));
        return true;
      });
    });
  }
});

describe('by gRPC, while its stream is open', () => {
  const lease = { leaseMs: 300, heartbeatMs: 100, until: new Date().toISOString() };

  /** A coordinator that takes one token at a time, and a runner that gets the next one when the last is turned down. */
  async function connected(nextToken: (refused: string | undefined) => string) {
    const told = { registered: 0, beats: 0 };
    let taken = 'first';
    let beat = Promise.withResolvers<void>();
    const fatal = Promise.withResolvers<AtollError>();
    const coordinator = await startGrpcCoordinator({
      registrations: {
        async register() {
          told.registered++;
          return { registrationId: newId('job'), lease };
        },
        async heartbeat() {
          told.beats++;
          beat.resolve();
          beat = Promise.withResolvers();
          return { lease };
        },
        deregister: async () => ({ sandboxes: 0 }),
      },
      async recognise(secret) {
        if (secret !== taken) throw new AtollError('unauthorized', 'this token has expired');
        return access('t', 'runner');
      },
    });
    const connection = dial(coordinator.url, async (refused) => nextToken(refused));
    connection.serve({ attach() {}, receive() {}, sandboxes: 0 });
    const registration = createRegistration({
      requests: connection.requests,
      link: { ended: () => [], acknowledgeEnded() {}, onEnded() {} },
      description,
      clock: () => performance.now(),
      onExpired() {},
      onRenewed() {},
      onFatal: fatal.resolve,
      logger: silent,
    });
    await registration.registered();
    return {
      told,
      fatal: fatal.promise,
      beat: () => Promise.race([beat.promise, fatal.promise.then((error) => Promise.reject(error))]),
      take(token: string) {
        taken = token;
      },
      async [Symbol.asyncDispose]() {
        registration.stop();
        connection.close();
        await coordinator[Symbol.asyncDispose]();
      },
    };
  }

  test('a token that ends is replaced, and the registration goes on', { timeout: 20_000 }, async () => {
    await using runner = await connected((refused) => (refused === undefined ? 'first' : 'second'));
    await runner.beat();
    runner.take('second');
    const before = runner.told.beats;
    while (runner.told.beats < before + 3) await runner.beat();
    assert.equal(runner.told.registered, 1);
  });

  test('a key that is revoked is the end of it', { timeout: 20_000 }, async () => {
    await using runner = await connected(() => 'first');
    await runner.beat();
    runner.take('nobody has it');
    assert.equal((await runner.fatal).code, 'unauthorized');
  });
});
