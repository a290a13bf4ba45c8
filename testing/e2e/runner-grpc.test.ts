/**
 * Runners that dial out. One is ours, in a process of its own. The other is no runner at all: a stock gRPC library with
 * the definition of the service, which does what docs/runners.md says, as a runner in another language would.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { asking, versatile } from '../agents.ts';
import { type Atoll, deploy, deployProgram, startAtoll, until } from '../atoll.ts';
import { type RunnerProcess, startRunner } from '../runner-process.ts';
import { StockRunner } from '../stock-runner.ts';

let atoll: Atoll;
let runnerKey: string;
before(async () => {
  atoll = await startAtoll({ args: ['--no-runner', '--grpc-port', '0'] });
  runnerKey = (await atoll.client.call('key.create', { role: 'runner' })).secret;
  await deployProgram(atoll.client, 'versatile', versatile);
});
after(() => atoll[Symbol.asyncDispose]());

const show = async (sessionId: string) => (await atoll.client.call('session.show', { sessionId })).session;
const say = async (sessionId: string, content: string) => {
  const events = await Array.fromAsync(atoll.client.send(sessionId, { content }));
  const messages = events.filter(({ event }) => event === 'message').map(({ text }) => JSON.parse(text));
  return { messages, done: JSON.parse(events.at(-1)?.text ?? '{}') };
};

describe('atoll runner --link grpc', () => {
  let runner: RunnerProcess;
  before(async () => {
    runner = await startRunner(atoll, 'dialled', { key: runnerKey, link: 'grpc', args: ['--capacity', '4'] });
  });
  after(() => runner.stop());

  test('is listed as what it is, and listens nowhere', async () => {
    const { runners } = await atoll.client.call('runner.list', {});
    assert.deepEqual(
      runners.map(({ id, link, status, address }) => [id, link, status, address]),
      [[runner.id, 'grpc', 'available', atoll.grpcUrl]],
    );
  });

  test('turns, files, commands, a pause and what comes after it', async () => {
    const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
    assert.equal(session.runnerId, runner.id);
    const { messages, done } = await say(session.id, 'emit 20000 300');
    assert.equal(done.status, 'completed');
    assert.deepEqual(
      messages.slice(0, -1).map(({ n }) => n),
      Array.from({ length: 20_000 }, (_, n) => n),
    );
    await say(session.id, 'remember the sea');
    const content = Buffer.alloc(2_000_000, 'z');
    await atoll.client.writeFile(session.id, 'big', content);
    const read = await atoll.client.readFile(session.id, 'big');
    assert.ok(Buffer.concat(await Array.fromAsync(read)).equals(content));
    const ran = await atoll.client.call('session.exec', {
      sessionId: session.id,
      command: 'wc -c < big; exit 4',
    });
    assert.deepEqual([ran.exitCode, ran.stdout], [4, '2000000\n']);
    await atoll.client.call('session.pause', { sessionId: session.id });
    await until(async () => (await show(session.id)).status === 'paused');
    const { files } = await atoll.client.call('session.files.list', { sessionId: session.id });
    assert.ok(files.some(({ path }) => path === 'big'));
    assert.equal((await say(session.id, 'hello again')).done.status, 'completed');
    await atoll.client.call('session.end', { sessionId: session.id });
  });

  test('an approval goes to whoever asks for it, and its answer back', async () => {
    await deploy(atoll.client, 'asking', asking);
    const { session } = await atoll.client.call('session.create', { agent: 'asking' });
    const turn = say(session.id, JSON.stringify({ ask: [{ tool: 'Bash', input: { command: 'rm' } }] }));
    const open = await until(async () => {
      const { approvals } = await atoll.client.call('approval.list', { sessionId: session.id });
      return approvals[0];
    });
    const decided = { sessionId: session.id, approvalId: open.id, decision: 'allow' } as const;
    await atoll.client.call('approval.decide', decided);
    assert.equal((await turn).done.status, 'completed');
    await atoll.client.call('session.end', { sessionId: session.id });
  });
});

describe('a runner by a stock gRPC library', () => {
  const demands = { labels: { stranger: 'yes' } };
  const connected = (key = runnerKey) => new StockRunner(atoll.grpcUrl, key);

  test('registers, takes a create job, reports it, streams events, and is fenced after its lease', {
    timeout: 60_000,
  }, async () => {
    const stranger = connected();
    const { registrationId, leaseMs } = await stranger.register('stranger');
    assert.match(registrationId, /^job_/);
    assert.ok(leaseMs > 0);
    stranger.say({ inventory: { sandboxes: [] } });
    stranger.say({ heartbeat: { registrationId, ended: [] } });
    const renewed = await stranger.next('leaseRenewed');
    assert.ok(renewed.leaseMs > 0);

    const creating = atoll.client.call('session.create', { agent: 'versatile', demands });
    let job = await stranger.next('job');
    // What is there of before is looked through first.
    for (; job.type !== 'create'; job = await stranger.next('job'))
      stranger.say({ jobUpdate: { jobId: job.jobId, epoch: job.epoch, status: 'completed' } });
    assert.equal(job.epoch, 1);
    const { jobId, epoch, sandboxId } = job;
    stranger.say({ jobUpdate: { jobId, epoch, status: 'running', sandboxId } });
    stranger.say({ jobUpdate: { jobId, epoch, status: 'completed', sandboxId } });
    const { session } = await creating;
    assert.deepEqual([session.status, session.runnerId, session.sandboxId], ['idle', 'stranger', sandboxId]);

    const turn = say(session.id, 'whoever you are');
    const { commandId, method, params } = await stranger.next('command');
    assert.equal(method, 'query');
    assert.equal(JSON.parse(Buffer.from(params).toString()).content, 'whoever you are');
    const of = { sandboxId, epoch, commandId };
    const said = ['{"type":"said",  "n":1}', '{"type":"said","n":2,"ü":"ü"}'];
    stranger.say({
      eventBatch: { ...of, firstLine: 1, bytes: Buffer.from(`${said.join('\n')}\n`) },
    });
    stranger.say({ commandEnd: { ...of, line: 3, status: 'completed' } });
    const { messages, done } = await turn;
    assert.deepEqual(
      messages,
      said.map((text) => JSON.parse(text)),
    );
    assert.equal(done.status, 'completed');
    const ack = await stranger.next('ack');
    assert.equal(ack.commandId, commandId);

    // No heartbeat any more: it is lost, its session usable elsewhere, and what it says late is refused.
    const lost = await until(async () => {
      const { runner } = await atoll.client.call('runner.show', { runnerId: 'stranger' });
      return runner.status === 'lost';
    }, leaseMs + 10_000);
    assert.ok(lost);
    const paused = await until(async () => {
      const shown = await show(session.id);
      return shown.status === 'paused' ? shown : undefined;
    });
    assert.equal(paused.cause, 'runner_lost');
    stranger.say({ heartbeat: { registrationId, ended: [] } });
    const refused = await stranger.ended;
    assert.equal(refused?.code, grpc.status.FAILED_PRECONDITION);
    assert.match(refused?.details ?? '', /stale_epoch/);
    stranger.close();
    const again = connected();
    again.register('stranger', { registrationId }).catch(() => undefined);
    assert.equal((await again.ended)?.code, grpc.status.FAILED_PRECONDITION, 'a registration that is over');
    again.close();
  });

  test('registers again when no answer came: what it works on goes on over the new stream', {
    timeout: 60_000,
  }, async () => {
    const process = { incarnation: 'the-same-process' };
    const deaf = connected();
    const { registrationId } = await deaf.register('twice', process);
    deaf.say({ inventory: { sandboxes: [] } });
    const creating = atoll.client.call('session.create', { agent: 'versatile', demands });
    let job = await deaf.next('job');
    for (; ; job = await deaf.next('job')) {
      deaf.say({ jobUpdate: { jobId: job.jobId, epoch: job.epoch, status: 'completed' } });
      if (job.type === 'create') break;
    }
    const { session } = await creating;
    const turn = say(session.id, 'are you still there?');
    await deaf.next('command');

    const back = connected();
    assert.equal((await back.register('twice', process)).registrationId, registrationId);
    const { commandId, sandboxId } = await back.next('command');
    back.say({ commandEnd: { sandboxId, epoch: job.epoch, commandId, line: 1, status: 'completed' } });
    assert.equal((await turn).done.status, 'completed');
    assert.match((await deaf.ended)?.details ?? '', /another stream/);

    const started = connected();
    const anew = await started.register('twice', { incarnation: 'another-process' });
    assert.notEqual(anew.registrationId, registrationId);
    assert.equal((await show(session.id)).cause, 'runner_lost');
    for (const each of [deaf, back, started]) each.close();
  });

  const refusals: [string, () => StockRunner, (it: StockRunner) => void, number][] = [
    [
      'no key',
      () => connected(''),
      (it) => void it.register('a').catch(() => undefined),
      grpc.status.UNAUTHENTICATED,
    ],
    [
      'a wrong key',
      () => connected('atoll_wrong'),
      (it) => void it.register('a').catch(() => undefined),
      grpc.status.UNAUTHENTICATED,
    ],
    [
      'anything before Register',
      () => connected(),
      (it) => void it.say({ inventory: { sandboxes: [] } }),
      grpc.status.INVALID_ARGUMENT,
    ],
    [
      'another protocol version',
      () => connected(),
      (it) => void it.register('b', { protocolVersion: 2 }).catch(() => undefined),
      grpc.status.FAILED_PRECONDITION,
    ],
    [
      'a name that is no name',
      () => connected(),
      (it) => void it.register('../b').catch(() => undefined),
      grpc.status.INVALID_ARGUMENT,
    ],
    [
      'a message of a kind that does not exist',
      () => connected(),
      (it) => void it.say({}),
      grpc.status.INVALID_ARGUMENT,
    ],
  ];
  for (const [what, connect, offend, code] of refusals)
    test(`${what}: refused`, { timeout: 20_000 }, async () => {
      const stranger = connect();
      offend(stranger);
      assert.equal((await stranger.ended)?.code, code);
      stranger.close();
    });

  test('another one’s name is refused while that one is there, and its work is its own', {
    timeout: 20_000,
  }, async () => {
    const owner = connected();
    const { registrationId } = await owner.register('owned');
    owner.say({ inventory: { sandboxes: [] } });
    const thief = connected();
    thief.register('owned', { callbackToken: 'not-the-same-secret' }).catch(() => undefined);
    assert.equal((await thief.ended)?.code, grpc.status.ALREADY_EXISTS);
    const other = connected();
    await other.register('other');
    other.say({ inventory: { sandboxes: [] } });
    // An answer to a job that it does not hold changes nothing.
    other.say({ jobUpdate: { jobId: registrationId, epoch: 1, status: 'completed' } });
    other.say({ heartbeat: { registrationId, ended: [] } });
    assert.equal((await other.ended)?.code, grpc.status.FAILED_PRECONDITION);
    owner.say({ heartbeat: { registrationId, ended: [] } });
    await owner.next('leaseRenewed');
    for (const each of [owner, thief, other]) each.close();
  });

  test('what is too large, or no message, ends its stream and nobody else’s', {
    timeout: 20_000,
  }, async () => {
    const steady = connected();
    const { registrationId } = await steady.register('steady');
    steady.say({ inventory: { sandboxes: [] } });
    const large = connected();
    await large.register('large');
    large.say({ eventBatch: { sandboxId: 'sbx_x', bytes: Buffer.alloc(64 * 1024 * 1024) } });
    assert.equal((await large.ended)?.code, grpc.status.RESOURCE_EXHAUSTED);
    const liar = connected();
    await liar.register('liar');
    liar.say({
      eventBatch: { sandboxId: 'sbx_x', commandId: 'c', firstLine: 1, bytes: Buffer.from('\r\n') },
    });
    assert.equal((await liar.ended)?.code, grpc.status.INVALID_ARGUMENT);
    const torn = connected();
    await torn.register('torn');
    torn.say({ commandOutput: { sandboxId: 'sbx_x', stream: `${'a'.repeat(99)}\u{1f600}` } });
    assert.equal((await torn.ended)?.code, grpc.status.INVALID_ARGUMENT, 'half a character in a refusal');
    steady.say({ heartbeat: { registrationId, ended: [] } });
    await steady.next('leaseRenewed');
    for (const each of [steady, large, liar, torn]) each.close();
    await delay(0);
    assert.equal((await fetch(`${atoll.url}/health`)).status, 200);
  });
});

test('who cannot be reached is named within six seconds, and with --once that is the end', {
  timeout: 30_000,
}, async () => {
  const { spawn } = await import('node:child_process');
  const main = fileURLToPath(new URL('../../packages/cli/src/main.mjs', import.meta.url));
  const { PATH = '', HOME = '' } = process.env;
  const began = performance.now();
  const child = spawn(
    process.execPath,
    [
      main,
      'runner',
      '--link',
      'grpc',
      '--server',
      'grpc://127.0.0.1:1',
      '--once',
      '--data-dir',
      atoll.dataDir,
    ],
    { env: { PATH, HOME, ATOLL_RUNNER_KEY: runnerKey }, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk;
  });
  await once(child, 'exit');
  assert.equal(child.exitCode, 3, said);
  assert.match(said, /cannot reach grpc:\/\/127\.0\.0\.1:1: .*ECONNREFUSED/);
  assert.ok(performance.now() - began < 10_000);
});
