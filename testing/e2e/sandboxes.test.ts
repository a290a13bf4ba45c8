/**
 * Sandboxes without an agent, and the durable jobs behind them, over the API of a real server: what was asked for
 * reaches the sandbox, whoever asks for what nobody has hears so, and what a crash interrupts goes on.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { AtollError, type OperationInput, type OperationResult } from '@atoll/protocol';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll, until } from '../atoll.ts';
import { createAsk } from '../raw-http.ts';

type Sandbox = OperationResult<'sandbox.show'>['sandbox'];
type Job = OperationResult<'job.show'>['job'];

const MiB = 1024 * 1024;

let atoll: Atoll;
before(async () => {
  atoll = await startAtoll({ args: ['--capacity', '4'] });
});
after(() => atoll[Symbol.asyncDispose]());

const create = async (wanted: OperationInput<'sandbox.create'> = {}): Promise<Sandbox> =>
  (await atoll.client.call('sandbox.create', { wait: true, ...wanted })).sandbox;
const show = async (sandboxId: string): Promise<Sandbox> =>
  (await atoll.client.call('sandbox.show', { sandboxId })).sandbox;
const remove = async (sandboxId: string) => atoll.client.call('sandbox.delete', { sandboxId, wait: true });
const job = async (jobId: string): Promise<Job> => (await atoll.client.call('job.show', { jobId })).job;
const exec = async (sandboxId: string, command: string) =>
  atoll.client.call('sandbox.exec', { sandboxId, command });
const reserved = async () => (await atoll.client.call('health.show', {})).pool.reserved;
const refused = (code: string) => (error: unknown) => error instanceof AtollError && error.code === code;

describe('a sandbox without an agent', () => {
  test('is made, used and deleted, by jobs that say how it went', async () => {
    const ask = createAsk(atoll);
    const asked = await ask('POST', '/api/sandboxes', { body: JSON.stringify({ name: 'build' }) });
    assert.equal(asked.status, 202);
    const { sandbox, job: creating } = JSON.parse(asked.text) as { sandbox: Sandbox; job: Job };
    assert.match(sandbox.status, /^(pending|starting)$/);
    const made = await until(async () => {
      const shown = await show(sandbox.id);
      return shown.status === 'ready' ? shown : undefined;
    });
    assert.equal(made.name, 'build');
    assert.equal(made.epoch, 1);
    assert.equal((await job(creating.id)).status, 'completed');

    const { stdout, exitCode } = await exec(made.id, 'echo hello; pwd; id -u');
    assert.equal(exitCode, 0);
    assert.match(stdout, /^hello\n\/workspace\n\d+\n$/);
    const streamed = await Array.fromAsync(
      atoll.client.sandboxes.exec(made.id, { command: 'seq 3; exit 4' }),
    );
    assert.deepEqual(streamed.at(-1), { kind: 'exit', exitCode: 4, timedOut: false });
    assert.equal(streamed.map((event) => ('text' in event ? event.text : '')).join(''), '1\n2\n3\n');

    await atoll.client.sandboxes.writeFile(made.id, 'a/b.txt', 'written outside');
    assert.equal((await exec(made.id, 'cat a/b.txt; echo inside > c')).stdout, 'written outside');
    const content = await atoll.client.sandboxes.readFile(made.id, 'c');
    assert.equal(await new Response(content).text(), 'inside\n');
    const { files } = await atoll.client.call('sandbox.files.list', { sandboxId: made.id });
    assert.deepEqual(files.map(({ path }) => path).sort(), ['a', 'a/b.txt', 'c']);
    await atoll.client.call('sandbox.files.delete', { sandboxId: made.id, path: 'a' });

    const deleted = await ask('DELETE', `/api/sandboxes/${made.id}?wait=true`);
    assert.equal(deleted.status, 200);
    const gone = JSON.parse(deleted.text) as { sandbox: Sandbox; job: Job };
    assert.deepEqual([gone.sandbox.status, gone.sandbox.cause], ['ended', 'ended']);
    assert.deepEqual([gone.job.type, gone.job.status], ['delete', 'completed']);
    assert.equal(await reserved(), 0);
    assert.equal((await remove(made.id)).sandbox.status, 'ended', 'once more is no error');
    const { jobs } = await atoll.client.call('job.list', { sandboxId: made.id });
    assert.deepEqual(
      jobs.map(({ type, status }) => `${type} ${status}`),
      ['delete completed', 'delete completed', 'create completed'],
    );
    await assert.rejects(exec(made.id, 'true'), refused('illegal_transition'));
  });

  test('with `wait` the answer is 201, and it is ready', async () => {
    const { status, text } = await createAsk(atoll)('POST', '/api/sandboxes?wait=true', { body: '{}' });
    assert.equal(status, 201);
    const { sandbox, job: done } = JSON.parse(text) as { sandbox: Sandbox; job: Job };
    assert.deepEqual([sandbox.status, done.status], ['ready', 'completed']);
    await remove(sandbox.id);
  });

  test('gets the memory, processor time and variables that were asked for', async () => {
    const { id } = await create({ memoryMb: 128, cpu: 0.25, env: { WISH: 'granted' } });
    assert.equal((await exec(id, 'echo $WISH')).stdout, 'granted\n');
    const measured = await exec(
      id,
      `node -e 'const begin = Date.now(), cpu = process.cpuUsage(); while (Date.now() - begin < 2000); const { user, system } = process.cpuUsage(cpu); console.log((user + system) / 2e6)'`,
    );
    const share = Number(measured.stdout);
    assert.ok(share > 0.05 && share < 0.5, `a quarter of a core was asked for, and it had ${share}`);
    const hog = `node -e 'const held = []; for (;;) held.push(Buffer.alloc(${8 * MiB}, 1))'`;
    await exec(id, hog).catch(() => undefined);
    const { status, cause } = await until(async () => {
      const sandbox = await show(id);
      return sandbox.status === 'ended' ? sandbox : undefined;
    });
    assert.deepEqual({ status, cause }, { status: 'ended', cause: 'oom' });
    assert.equal(await reserved(), 0);
  });

  test('ends when its time is over, and says so', async () => {
    const { id } = await create({ timeoutMs: 1000 });
    const { cause } = await until(async () => {
      const sandbox = await show(id);
      return sandbox.status === 'ended' ? sandbox : undefined;
    });
    assert.equal(cause, 'wall_time');
    await assert.rejects(
      atoll.client.call('sandbox.files.list', { sandboxId: id }),
      refused('illegal_transition'),
    );
  });

  test('holds no executor: its bridge refuses what only an agent does', async () => {
    const { id } = await create();
    assert.equal((await exec(id, 'ps ax -o args= | grep -c "[c]laude"')).stdout, '0\n');
    await remove(id);
  });
});

describe('who asks for what is not there', () => {
  const cases: [string, OperationInput<'sandbox.create'>, RegExp][] = [
    ['a label', { demands: { labels: { gpu: 'yes' } } }, /label gpu is not yes/],
    ['a driver', { demands: { driver: 'microvm' } }, /does not offer the driver microvm/],
    ['an image', { image: 'debian:12' }, /none of its drivers has images \(bubblewrap\)/],
  ];
  for (const [what, wanted, why] of cases)
    test(`${what}: hears within five seconds who was considered, and why not`, async () => {
      const began = performance.now();
      const error = await create(wanted).then(
        () => assert.fail('it was made'),
        (reason: unknown) => reason,
      );
      assert.ok(error instanceof AtollError);
      assert.equal(error.code, 'no_runner');
      assert.match(error.detail, why);
      assert.ok(performance.now() - began < 5000);
      const { jobs } = await atoll.client.call('job.list', { status: 'failed', limit: 1 });
      assert.equal(jobs[0]?.cause, 'no_runner');
      assert.ok((jobs[0]?.attempts ?? 0) > 1, 'it was tried again');
    });

  test('a secret in `env`: refused, with where it belongs', async () => {
    await assert.rejects(
      create({ env: { GITHUB_TOKEN: `ghp_${'a'.repeat(36)}` } }),
      refused('secret_in_env'),
    );
  });
});

test('places: a full runner makes room for a sandbox as for a session, and a freed place is taken', async () => {
  await deployProgram(atoll.client, 'versatile', versatile);
  const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
  const made = await Promise.all([create(), create(), create(), create()]);
  const paused = (await atoll.client.call('session.show', { sessionId: session.id })).session;
  assert.deepEqual([paused.status, paused.cause], ['paused', 'evicted']);
  const [first, ...others] = made;
  assert.ok(first);
  const waiting = create();
  await until(async () => {
    const { jobs } = await atoll.client.call('job.list', { status: 'pending' });
    return jobs[0]?.cause === 'no_capacity' ? jobs[0] : undefined;
  });
  await remove(first.id);
  const last = await waiting;
  assert.equal(await reserved(), 4);
  await Promise.all([last, ...others].map(({ id }) => remove(id)));
  assert.equal(await reserved(), 0);
  await atoll.client.call('session.end', { sessionId: session.id });
});

test('one that is deleted before it has a place is not made', async () => {
  const full = await Promise.all([create(), create(), create(), create()]);
  const { sandbox, job: creating } = await atoll.client.call('sandbox.create', {});
  const gone = await remove(sandbox.id);
  assert.equal(gone.sandbox.status, 'failed');
  assert.equal(gone.sandbox.cause, 'cancelled');
  assert.equal((await job(creating.id)).status, 'failed');
  await Promise.all(full.map(({ id }) => remove(id)));
});

test('a sandbox of a session is listed, and left to its session', async () => {
  await deployProgram(atoll.client, 'versatile', versatile);
  const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
  const sandboxId = session.sandboxId ?? '';
  const { sandboxes } = await atoll.client.call('sandbox.list', { status: 'ready' });
  assert.deepEqual(
    sandboxes.map(({ id, sessionId }) => ({ id, sessionId })),
    [{ id: sandboxId, sessionId: session.id }],
  );
  await assert.rejects(remove(sandboxId), refused('illegal_transition'));
  await assert.rejects(exec(sandboxId, 'true'), refused('illegal_transition'));
  const { jobs } = await atoll.client.call('job.list', { sessionId: session.id });
  assert.deepEqual(
    jobs.map(({ type, status }) => `${type} ${status}`),
    ['create completed'],
  );
  await atoll.client.call('session.end', { sessionId: session.id });
});

test('lists go page by page', async () => {
  const made = [await create({ name: 'page' }), await create({ name: 'page' })];
  const first = await atoll.client.call('sandbox.list', { name: 'page', limit: 1 });
  assert.ok(first.nextCursor);
  const second = await atoll.client.call('sandbox.list', {
    name: 'page',
    limit: 1,
    cursor: first.nextCursor,
  });
  assert.equal(second.nextCursor, null);
  assert.deepEqual(
    [...first.sandboxes, ...second.sandboxes].map(({ id }) => id),
    made.map(({ id }) => id).reverse(),
  );
  await Promise.all(made.map(({ id }) => remove(id)));
});

test('after a kill -9, jobs that were open are done, sandboxes that ran say that they ended', async () => {
  const ready = await create();
  const full = await Promise.all([create(), create(), create()]);
  const waiting = await atoll.client.call('sandbox.create', { name: 'later' });
  await until(async () => ((await job(waiting.job.id)).attempts > 0 ? true : undefined));
  await atoll.kill();
  await atoll.restart();
  for (const { id } of [ready, ...full]) {
    const { status, cause } = await show(id);
    assert.deepEqual({ status, cause }, { status: 'ended', cause: 'server_lost' });
  }
  const made = await until(async () => {
    const sandbox = await show(waiting.sandbox.id);
    return sandbox.status === 'ready' ? sandbox : undefined;
  });
  assert.equal((await job(waiting.job.id)).status, 'completed');
  assert.equal((await exec(made.id, 'echo works')).stdout, 'works\n');
  assert.equal(await reserved(), 1);
  await remove(made.id);
});

test('a stop ends them with that cause', async () => {
  const { id } = await create();
  await atoll.restart();
  const { status, cause } = await show(id);
  assert.deepEqual({ status, cause }, { status: 'ended', cause: 'server_stopped' });
  assert.equal(await reserved(), 0);
});
