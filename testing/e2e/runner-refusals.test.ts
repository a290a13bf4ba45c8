/**
 * What a runner may not say, by both links: each is refused with a reason, the server lives on, and a runner beside it,
 * and its session, notice nothing.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll, until } from '../atoll.ts';
import { type Answer, assertProblem, createAsk, json } from '../raw-http.ts';
import { type RunnerProcess, startRunner } from '../runner-process.ts';
import { connectStock, registerMessage, StockRunner } from '../stock-runner.ts';

let atoll: Atoll;
let key: string;
let steady: RunnerProcess;
let sessionId: string;
before(async () => {
  atoll = await startAtoll({ args: ['--no-runner', '--grpc-port', '0'] });
  key = (await atoll.client.call('key.create', { role: 'runner' })).secret;
  await deployProgram(atoll.client, 'versatile', versatile);
  steady = await startRunner(atoll, 'steady', { key, args: ['--label', 'which=steady'] });
  const demands = { labels: { which: 'steady' } };
  sessionId = (await atoll.client.call('session.create', { agent: 'versatile', demands })).session.id;
});
after(async () => {
  await steady.stop();
  await atoll[Symbol.asyncDispose]();
});
afterEach(async () => {
  assert.equal((await fetch(`${atoll.url}/health`)).status, 200);
  const events = await Array.fromAsync(atoll.client.send(sessionId, { content: 'hello' }));
  assert.equal(JSON.parse(events.at(-1)?.text ?? '{}').status, 'completed');
  const { runner } = await atoll.client.call('runner.show', { runnerId: steady.id });
  assert.equal(runner.status, 'available');
});

const show = async () => (await atoll.client.call('session.show', { sessionId })).session;
const openJobs = async () => (await atoll.client.call('job.list', { status: 'running' })).jobs;

describe('http', () => {
  type Path = 'register' | 'heartbeat' | 'deregister';
  const say = (path: Path | 'explode', body: object, as = key): Promise<Answer> =>
    createAsk(atoll)('POST', `/api/internal/runners/${path}`, { ...json(body), key: as });

  const description = (runnerId: string, address = 'http://127.0.0.1:1') => {
    const { registrationId: _, ...said } = registerMessage(runnerId);
    return { ...said, address, labels: { which: runnerId } };
  };

  async function register(runnerId: string, address?: string): Promise<string> {
    const answer = await say('register', description(runnerId, address));
    assert.equal(answer.status, 200, answer.text);
    return (answer.body as { registrationId: string }).registrationId;
  }

  test('a wrong key', async () => {
    const registrationId = await register('owner');
    const beat = { runnerId: 'owner', registrationId };
    for (const as of ['atoll_wrong', 'eyJhbGciOiJub25lIn0.e30.x', 'x']) {
      assertProblem(await say('register', description('anybody'), as), 401, 'unauthorized');
      assertProblem(await say('heartbeat', beat, as), 401, 'unauthorized');
      assertProblem(await say('deregister', beat, as), 401, 'unauthorized');
    }
    assert.equal((await say('heartbeat', beat)).status, 200);
  });

  test('an old registration, replayed', async () => {
    const old = { runnerId: 'replayed', registrationId: await register('replayed') };
    const current = { runnerId: 'replayed', registrationId: await register('replayed') };
    assertProblem(await say('heartbeat', old), 409, 'stale_epoch');
    assertProblem(await say('deregister', old), 409, 'stale_epoch');
    assert.equal((await say('heartbeat', current)).status, 200);
  });

  test('the end of a sandbox that it does not hold', async () => {
    const registrationId = await register('liar');
    const sandboxId = (await show()).sandboxId ?? '';
    const told = { sandboxId, sessionId, epoch: 1, cause: 'oom', detail: 'I say so.' };
    const beat = { runnerId: 'liar', registrationId, ended: [told] };
    assert.equal((await say('heartbeat', beat)).status, 200);
    const { sandbox } = await atoll.client.call('sandbox.show', { sandboxId });
    assert.deepEqual([(await show()).status, sandbox.status], ['idle', 'ready']);
  });

  test('more than a message may hold', async () => {
    const registrationId = await register('large');
    const detail = 'x'.repeat(600 * 1024);
    const told = { sandboxId: 'sbx_x', epoch: 1, cause: 'oom', detail };
    const beat = (count: number) =>
      say('heartbeat', { runnerId: 'large', registrationId, ended: Array(count).fill(told) });
    assertProblem(await beat(1), 400, 'invalid_request');
    assertProblem(await beat(2), 413, 'body_too_large');
    assertProblem(
      await say('register', { ...description('large'), labels: { a: detail } }),
      400,
      'invalid_request',
    );
    assert.equal((await say('heartbeat', { runnerId: 'large', registrationId })).status, 200);
  });

  test('what there is not', async () => {
    const registrationId = await register('odd');
    assertProblem(await say('explode', {}), 404, 'unknown_route');
    const beat = { runnerId: 'odd', registrationId };
    assertProblem(await say('heartbeat', { ...beat, kind: 'explode' }), 400, 'invalid_request');
    assertProblem(await say('register', { ...description('odd'), kind: 1 }), 400, 'invalid_request');
    assert.equal((await say('heartbeat', beat)).status, 200);
  });

  test('the id of another', async () => {
    const registrationId = await register('thief');
    const stolen = { ...description(steady.id), callbackToken: 'not-the-same-secret' };
    assertProblem(await say('register', stolen), 409, 'already_exists');
    assertProblem(await say('heartbeat', { runnerId: steady.id, registrationId }), 409, 'stale_epoch');
    assertProblem(await say('deregister', { runnerId: steady.id, registrationId }), 409, 'stale_epoch');
  });

  /** Says yes to every sandbox, and to commands this, on and on while somebody reads. */
  async function openRunner(runnerId: string, said: Buffer) {
    const server = http.createServer((request, response) => {
      const text = request.toArray();
      if (!request.url?.endsWith('/commands')) {
        void text.then((pieces) => {
          const { sandbox = {}, epoch } = JSON.parse(Buffer.concat(pieces).toString() || '{}');
          const shown = { id: sandbox.id, epoch, status: 'ready', lastLine: 0, commands: [] };
          const status = request.method === 'POST' && request.url?.endsWith('/sandboxes') ? 201 : 200;
          response.writeHead(status, { 'content-type': 'application/json' });
          response.end(JSON.stringify(status === 201 ? { sandbox: shown } : { sandboxes: [] }));
        });
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const more = () => {
        while (!response.destroyed && response.write(said));
      };
      response.on('drain', more);
      more();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    await register(runnerId, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    return {
      async [Symbol.asyncDispose]() {
        server.closeAllConnections();
        server.close();
      },
    };
  }

  const events: [what: string, said: Buffer][] = [
    ['a line without an end', Buffer.alloc(1024 * 1024, 'x')],
    ['an event of an unknown kind', Buffer.from('id: 1\nevent: explode\ndata: {}\n\n')],
  ];
  for (const [what, said] of events)
    test(`${what} as the answer to a command: that turn fails`, { timeout: 60_000 }, async () => {
      const runnerId = `speaks-${said.length}`;
      await using _runner = await openRunner(runnerId, said);
      const demands = { labels: { which: runnerId } };
      const { session } = await atoll.client.call('session.create', { agent: 'versatile', demands });
      const all = await Array.fromAsync(atoll.client.send(session.id, { content: 'x' }));
      const { status, cause } = JSON.parse(all.at(-1)?.text ?? '{}');
      assert.deepEqual([status, cause?.code ?? cause], ['failed', 'executor_failed']);
    });
});

describe('grpc', { timeout: 60_000 }, () => {
  const connected = (as = key) => new StockRunner(atoll.grpcUrl, as);
  const never = (registered: Promise<unknown>) => void registered.catch(() => undefined);

  async function registered(runnerId: string, labels = {}) {
    const runner = connected();
    const { registrationId } = await runner.register(runnerId, { labels });
    runner.say({ inventory: { sandboxes: [] } });
    return Object.assign(runner, {
      registrationId,
      /** What was said before was taken by then. */
      async beat(ended: object[] = []) {
        runner.say({ heartbeat: { registrationId, ended } });
        await runner.next('leaseRenewed');
      },
    });
  }

  test('a wrong key', async () => {
    for (const as of ['', 'atoll_wrong', 'eyJhbGciOiJub25lIn0.e30.x']) {
      const runner = connected(as);
      never(runner.register('anybody'));
      assert.equal((await runner.ended)?.code, grpc.status.UNAUTHENTICATED);
      runner.close();
    }
  });

  test('an old registration, replayed', async () => {
    const first = await registered('replayed-grpc');
    const second = await registered('replayed-grpc');
    assert.notEqual(first.registrationId, second.registrationId);
    const replay = connected();
    never(replay.register('replayed-grpc', { registrationId: first.registrationId }));
    assert.equal((await replay.ended)?.code, grpc.status.FAILED_PRECONDITION);
    first.say({ heartbeat: { registrationId: first.registrationId, ended: [] } });
    assert.equal((await first.ended)?.code, grpc.status.FAILED_PRECONDITION);
    await second.beat();
    for (const each of [first, second, replay]) each.close();
  });

  test('the result of a job that it does not hold, and the end of such a sandbox', async () => {
    const holder = await registered('holder', { which: 'holder' });
    const other = await registered('other');
    const demands = { labels: { which: 'holder' } };
    const creating = atoll.client.call('session.create', { agent: 'versatile', demands });
    let job = await holder.next('job');
    for (; job.type !== 'create'; job = await holder.next('job'))
      holder.say({ jobUpdate: { jobId: job.jobId, epoch: job.epoch, status: 'completed' } });
    const { jobId, epoch, sandboxId } = job;
    for (const status of ['running', 'failed', 'completed'])
      other.say({ jobUpdate: { jobId, epoch, sandboxId, status, cause: 'oom', detail: 'I say so.' } });
    // Nor an answer of its holder to an earlier attempt.
    holder.say({ jobUpdate: { jobId, epoch: epoch - 1, sandboxId, status: 'failed', cause: 'oom' } });
    await Promise.all([holder.beat(), other.beat([{ sandboxId, epoch, cause: 'oom', detail: 'I say so.' }])]);
    assert.deepEqual(
      (await openJobs()).map(({ id, status }) => [id, status]),
      [[jobId, 'running']],
    );
    holder.say({ jobUpdate: { jobId, epoch, sandboxId, status: 'completed' } });
    const { session } = await creating;
    assert.deepEqual([session.status, session.runnerId], ['idle', 'holder']);
    other.say({ jobUpdate: { jobId, epoch, sandboxId, status: 'failed', cause: 'oom' } });
    await other.beat([{ sandboxId, epoch, cause: 'oom', detail: 'I say so.' }]);
    const { session: after } = await atoll.client.call('session.show', { sessionId: session.id });
    assert.equal(after.status, 'idle');
    for (const each of [holder, other]) each.close();
  });

  test('more than a message may hold', async () => {
    const runner = await registered('large-grpc');
    runner.say({ eventBatch: { sandboxId: 'sbx_x', bytes: Buffer.alloc(64 * 1024 * 1024) } });
    assert.equal((await runner.ended)?.code, grpc.status.RESOURCE_EXHAUSTED);
    const ended = await registered('many-grpc');
    const told = { sandboxId: 'sbx_x', epoch: 1, cause: 'oom', detail: 'x'.repeat(20_000) };
    ended.say({ heartbeat: { registrationId: ended.registrationId, ended: [told] } });
    assert.equal((await ended.ended)?.code, grpc.status.INVALID_ARGUMENT);
    for (const each of [runner, ended]) each.close();
  });

  test('a message of an unknown kind, and bytes that are none', async () => {
    const unknown = await registered('odd-grpc');
    unknown.say({ explode: {} });
    assert.equal((await unknown.ended)?.code, grpc.status.INVALID_ARGUMENT);
    unknown.close();
    const wires: [what: string, bytes: Buffer, code: number][] = [
      // Field 99, length-delimited, empty.
      ['a kind of a later version', Buffer.from([0x9a, 0x06, 0x00]), grpc.status.INVALID_ARGUMENT],
      ['no protobuf', Buffer.from('GET / HTTP/1.1\r\n'), grpc.status.INTERNAL],
    ];
    for (const [what, bytes, code] of wires) {
      const { call, close } = connectStock(atoll.grpcUrl, key, () => bytes);
      call.write({});
      const [error] = (await once(call, 'error').catch((reason) => [reason])) as [grpc.ServiceError];
      assert.equal(error.code, code, what);
      close();
    }
  });

  test('the id of another, and its registration', async () => {
    const owner = await registered('owner-grpc');
    const { registrationId } = owner;
    for (const said of [
      { callbackToken: 'not-the-same-secret' },
      { callbackToken: 'not-the-same-secret', registrationId },
    ]) {
      const thief = connected();
      never(thief.register('owner-grpc', said));
      assert.equal((await thief.ended)?.code, grpc.status.ALREADY_EXISTS, JSON.stringify(said));
      thief.close();
    }
    const named = connected();
    const { callbackToken } = registerMessage('owner-grpc');
    never(named.register('somebody', { registrationId, callbackToken }));
    assert.equal((await named.ended)?.code, grpc.status.FAILED_PRECONDITION);
    const other = await registered('other-grpc');
    other.say({ heartbeat: { registrationId, ended: [] } });
    assert.equal((await other.ended)?.code, grpc.status.FAILED_PRECONDITION);
    await owner.beat();
    for (const each of [owner, named, other]) each.close();
  });
});

test('nothing of all that is left to be done', async () => {
  await until(async () => (await openJobs()).length === 0);
});
