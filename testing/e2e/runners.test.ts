/** A server without a runner of its own, and runners in processes of their own: everything that a session does. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { StreamEvent } from '@atoll/client';
import { PROTOCOL_VERSION } from '@atoll/protocol';
import { asking, versatile } from '../agents.ts';
import { type Atoll, deploy, deployProgram, startAtoll, until } from '../atoll.ts';
import { type Ask, assertProblem, createAsk } from '../raw-http.ts';
import { type RunnerProcess, startRunner } from '../runner-process.ts';

let atoll: Atoll;
let ask: Ask;
let runner: RunnerProcess;
before(async () => {
  atoll = await startAtoll({ args: ['--no-runner'] });
  ask = createAsk(atoll);
  const { secret } = await atoll.client.call('key.create', { role: 'runner' });
  runner = await startRunner(atoll, 'one', {
    key: secret,
    args: ['--label', 'disk=fast', '--capacity', '4'],
  });
  await deployProgram(atoll.client, 'versatile', versatile);
});
after(async () => {
  await runner.stop();
  await atoll[Symbol.asyncDispose]();
});

async function open(agent = 'versatile'): Promise<string> {
  return (await atoll.client.call('session.create', { agent })).session.id;
}

async function send(sessionId: string, content: string): Promise<StreamEvent[]> {
  return Array.fromAsync(atoll.client.send(sessionId, { content }));
}

const messagesOf = (events: readonly StreamEvent[]) =>
  events.filter(({ event }) => event === 'message').map(({ text }) => JSON.parse(text));
const doneOf = (events: readonly StreamEvent[]) => JSON.parse(events.at(-1)?.text ?? '{}');
const show = async (sessionId: string) => (await atoll.client.call('session.show', { sessionId })).session;

test('a runner is listed with what it offers', async () => {
  const { runners } = await atoll.client.call('runner.list', {});
  assert.deepEqual(
    runners.map(({ id, status, link, address, capacity, reserved }) => [
      id,
      status,
      link,
      address,
      capacity,
      reserved,
    ]),
    [[runner.id, 'available', 'http', runner.url, 4, 0]],
  );
  const [first] = runners;
  assert.ok(first?.lease && Date.parse(first.lease.until) > Date.now());
  assert.deepEqual([first.labels.disk, first.labels.name], ['fast', 'one']);
  assert.ok(first.executorProfiles.includes('program'));
});

test('turns, files, commands, a pause and what comes after it', async () => {
  const id = await open();
  assert.equal((await show(id)).runnerId, runner.id);
  const hello = await send(id, 'hello there');
  assert.deepEqual(messagesOf(hello)[0], { type: 'echo', text: 'hello there' });
  assert.equal(doneOf(hello).status, 'completed');
  const many = messagesOf(await send(id, 'emit 20000 300'));
  assert.deepEqual(
    many.slice(0, -1).map(({ n }) => n),
    Array.from({ length: 20_000 }, (_, i) => i),
  );
  await send(id, 'remember the sea');
  const content = Buffer.alloc(2_000_000, 'z');
  await atoll.client.writeFile(id, 'big', content);
  const read = await atoll.client.readFile(id, 'big');
  assert.equal(Buffer.concat(await Array.fromAsync(read)).length, content.length);
  const { exitCode, stdout } = await atoll.client.call('session.exec', {
    sessionId: id,
    command: 'wc -c < big; exit 4',
  });
  assert.deepEqual([exitCode, stdout.trim()], [4, '2000000']);
  const { changes } = await atoll.client.call('session.diff', { sessionId: id });
  assert.ok(changes.some(({ path }) => path === 'big'));
  await atoll.client.call('session.pause', { sessionId: id });
  assert.equal((await show(id)).status, 'paused');
  assert.deepEqual(messagesOf(await send(id, 'recall'))[0], { type: 'recalled', text: 'the sea' });
  await atoll.client.call('session.end', { sessionId: id });
});

test('a turn is interrupted', async () => {
  const id = await open();
  const turn = send(id, 'wait');
  await until(async () => (await show(id)).turn !== null);
  await atoll.client.call('session.interrupt', { sessionId: id });
  assert.equal(doneOf(await turn).status, 'interrupted');
  await atoll.client.call('session.end', { sessionId: id });
});

test('a crash of the agent is told, and the session goes on', async () => {
  const id = await open();
  const crashed = doneOf(await send(id, 'crash'));
  assert.equal(crashed.status, 'failed');
  assert.equal(doneOf(await send(id, 'hello')).status, 'completed');
  const gone = await atoll.client.call('session.exec', { sessionId: id, command: 'kill -9 -1' });
  assert.notEqual(gone.cause, undefined);
  await until(async () => (await show(id)).status === 'paused');
  assert.equal(doneOf(await send(id, 'hello')).status, 'completed');
  await atoll.client.call('session.end', { sessionId: id });
});

test('an agent asks, and is answered', async () => {
  await deploy(atoll.client, 'asking', asking);
  const id = await open('asking');
  const turn = send(id, JSON.stringify({ ask: [{ tool: 'Bash', input: { command: 'ls' } }] }));
  const approval = await until(async () => {
    const { approvals } = await atoll.client.call('approval.list', { sessionId: id });
    return approvals[0];
  });
  await atoll.client.call('approval.decide', {
    sessionId: id,
    approvalId: approval.id,
    decision: 'deny',
    message: 'no',
  });
  const [said] = messagesOf(await turn);
  assert.deepEqual(said.decisions, [{ decision: 'deny', message: 'no' }]);
  await atoll.client.call('session.end', { sessionId: id });
});

test('a sandbox without an agent', async () => {
  const { sandbox } = await atoll.client.call('sandbox.create', { wait: true });
  const { stdout } = await atoll.client.call('sandbox.exec', { sandboxId: sandbox.id, command: 'echo bare' });
  assert.equal(stdout, 'bare\n');
  await atoll.client.call('sandbox.delete', { sandboxId: sandbox.id, wait: true });
  const inventory = createAsk({ url: runner.url, key: runner.callbackToken });
  await until(async () => (await inventory('GET', '/runner/sandboxes')).text === '{"sandboxes":[]}');
});

const description = {
  runnerId: 'fake',
  hostname: 'h',
  address: 'http://127.0.0.1:1',
  capacity: 1,
  labels: { only: 'fake' },
  executorProfiles: [],
  drivers: ['bubblewrap'],
  version: '0',
  protocolVersion: PROTOCOL_VERSION,
  callbackToken: 'a-callback-token-of-a-test',
};
const internal = (path: string, body: object, key?: string) =>
  ask('POST', `/api/internal/runners/${path}`, {
    body: JSON.stringify(body),
    ...(key === undefined ? {} : { key }),
  });

test('who registers is whom it says: no other takes a live id, and what an old registration says is refused', async () => {
  const first = await internal('register', description);
  assert.equal(first.status, 200);
  const { registrationId } = first.body as unknown as { registrationId: string };
  const other = { ...description, callbackToken: 'another-callback-token' };
  assertProblem(await internal('register', other), 409, 'already_exists');
  assertProblem(await internal('register', { ...other, runnerId: runner.id }), 409, 'already_exists');
  const foreign = await atoll.client.call('key.create', { role: 'runner', tenant: 'other' });
  assertProblem(await internal('register', description, foreign.secret), 409, 'already_exists');
  const client = await atoll.client.call('key.create', { role: 'client' });
  assertProblem(await internal('register', description, client.secret), 403, 'forbidden');
  assertProblem(await internal('register', { ...description, protocolVersion: 99 }), 409, 'wrong_version');
  const beat = { runnerId: 'fake', registrationId };
  assert.equal((await internal('heartbeat', beat)).status, 200);
  assert.equal((await internal('register', description)).status, 200);
  assertProblem(await internal('heartbeat', beat), 409, 'stale_epoch');
  assertProblem(await internal('deregister', beat), 409, 'stale_epoch');
});

test('a runner that drains gets nothing more', async () => {
  const { runner: drained } = await atoll.client.call('runner.drain', { runnerId: 'fake' });
  assert.equal(drained.status, 'draining');
  const demands = { labels: { only: 'fake' } };
  await assert.rejects(atoll.client.call('sandbox.create', { wait: true, demands }), {
    code: 'no_runner',
  });
  assertProblem(await ask('POST', '/api/runners/nobody/drain'), 404, 'not_found');
});

test('the runner takes no call without its callback token', async () => {
  const asked = createAsk({ url: runner.url, key: 'wrong' });
  for (const [method, path] of [
    ['GET', '/runner/sandboxes'],
    ['DELETE', '/runner/sandboxes/sbx_1?epoch=9'],
    ['POST', '/runner/ack'],
  ] as const) {
    assertProblem(await asked(method, path), 401, 'unauthorized');
    assertProblem(await asked(method, path, { key: atoll.key }), 401, 'unauthorized');
  }
  for (const path of ['/runner/health', '/openapi.json', '/docs'])
    assert.equal((await asked('GET', path, { key: null })).status, 200, path);
});

test('one that is started again takes its place, and its sessions go on from their snapshots', async () => {
  const id = await open();
  await send(id, 'remember the mountains');
  assert.equal(await runner.stop(), 0);
  assert.equal((await show(id)).status, 'paused');
  const earlier = runner.id;
  runner = await startRunner(atoll, 'one');
  assert.equal(runner.id, earlier);
  assert.deepEqual(messagesOf(await send(id, 'recall'))[0], { type: 'recalled', text: 'the mountains' });
  await runner.kill();
  runner = await startRunner(atoll, 'one');
  await until(async () => (await show(id)).status === 'paused');
  assert.equal((await show(id)).cause, 'runner_lost');
  assert.deepEqual(messagesOf(await send(id, 'recall'))[0], { type: 'recalled', text: 'the mountains' });
  await atoll.client.call('session.end', { sessionId: id });
});

test('a runner whose key is refused ends, and says why', async () => {
  const { secret } = await atoll.client.call('key.create', { role: 'client' });
  await assert.rejects(startRunner(atoll, 'refused', { key: secret }), /needs a key with the role runner/);
});
