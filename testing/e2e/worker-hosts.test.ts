/** Hosts of the worker that we did not write, and those from before JSON-RPC. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { operations } from '@atoll/protocol';
import { workerMethods } from '@atoll/protocol/worker-methods';
import { versatile } from '../agents.ts';
import { until } from '../atoll.ts';
import { connectLines } from '../vscode-lines.ts';
import { deployOver, type Line, startWorker, type Worker } from '../worker.ts';

let worker: Worker;
before(async () => {
  worker = await startWorker();
});
after(() => worker[Symbol.asyncDispose]());

type Described = { name: string; paramStructure: string; params: { name: string; required: boolean }[] };

test('the OpenRPC document names every method that is served, and no other', async () => {
  const { result } = await worker.call('rpc.discover');
  const { openrpc, methods } = result as { openrpc: string; methods: Described[] };
  assert.match(openrpc, /^1\.3\./);
  const described = methods.map(({ name }) => name);
  assert.equal(new Set(described).size, described.length);
  const known = new Set([...described, ...Object.keys(operations), ...Object.keys(workerMethods)]);
  const served = await Promise.all(
    [...known].map(async (name) => {
      const { error } = await worker.call(name, { not: 'a param' });
      return error?.code === -32601 ? [] : [name];
    }),
  );
  assert.deepEqual(served.flat().sort(), described.toSorted());
  const read = methods.find(({ name }) => name === 'session.files.read');
  assert.deepEqual(
    read?.params.map(({ name, required }) => [name, required]),
    [
      ['sessionId', true],
      ['path', true],
      ['offset', false],
      ['length', false],
    ],
  );
});

test('vscode-jsonrpc drives a session', async () => {
  await using host = await startWorker();
  await deployOver(host, 'versatile', versatile);
  using connection = connectLines(host.child.stdout, host.child.stdin);
  const created = await connection.request('session.create', { agent: 'versatile' });
  const sessionId = (created as { session: { id: string } }).session.id;
  const events: string[] = [];
  const done = new Promise<void>((resolve) => {
    connection.on('session.event', ({ event }: { event: string }) => {
      events.push(event);
      if (event === 'done') resolve();
    });
  });
  await connection.request('session.subscribe', { sessionId });
  const { turn } = (await connection.request('session.send', { sessionId, content: 'hi' })) as {
    turn: { id: string };
  };
  assert.match(turn.id, /^turn_/);
  await done;
  assert.deepEqual(
    ['input', 'message', 'done'].map((name) => events.includes(name)),
    [true, true, true],
  );
  await assert.rejects(connection.request('agent.show', { name: 'nobody' }), { code: -32000 });
  await assert.rejects(connection.cancelled('session.exec', { sessionId, command: 'sleep 20' }), {
    code: -32000,
    message: /cancelled/,
  });
  await connection.request('session.end', { sessionId });
});

test('with --legacy, lines of before are answered in their order, beside JSON-RPC', async () => {
  await using old = await startWorker({ args: ['--legacy'] });
  const given = ['ping', 'state_at [1]', 'nonsense here', 'state_at {}', 'ping', 'state_at {"asOf":'];
  old.write(`${given.join('\n')}\nstate_at {"asOf":"2020-01-01T00:00:00Z"}\n`);
  const isError = (line: unknown) => typeof (line as { error?: unknown }).error === 'string';
  await until(async () => (old.lines.length > given.length + 1 ? true : undefined));
  const state = ['asOf', 'sessions', 'sandboxes', 'runners'];
  const [ready, ...answers] = old.lines;
  assert.equal((ready as Line).method, 'ready');
  assert.deepEqual(
    answers.map((line) => (isError(line) ? 'error' : typeof line === 'object' ? Object.keys(line) : line)),
    ['pong', 'error', 'error', state, 'pong', 'error', state],
  );
  assert.equal((await old.call('ping')).result, 'pong');
});

test('lines of before need the launch token to have come', async () => {
  const token = 'a-token-of-the-host-0123456789';
  await using old = await startWorker({ args: ['--legacy'], env: { ATOLL_LAUNCH_TOKEN: token } });
  old.write('ping\n');
  await old.next((line) => /launch token/.test(String(line.error)));
  await old.call('initialize', { token });
  old.write('ping\n');
  await old.next((line) => (line as unknown) === 'pong');
});

test('without --legacy they are no JSON, and the worker says so', async () => {
  const from = worker.lines.length;
  worker.write('ping\n');
  worker.write('state_at {}\n');
  await worker.call('ping');
  const refusals = worker.lines.slice(from, from + 2) as Line[];
  assert.deepEqual(
    refusals.map(({ id, error }) => [id, error?.code]),
    [
      [null, -32700],
      [null, -32700],
    ],
  );
});
