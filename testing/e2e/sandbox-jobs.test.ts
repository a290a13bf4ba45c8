/**
 * The jobs of sandboxes without an agent, when things go wrong: what may pass is tried again, what may not is told, and a
 * server that is killed in the middle of one goes on with it. The runner is steered by the tests, but for the last one.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { OperationResult } from '@atoll/protocol';
import { type Atoll, startAtoll, until } from '../atoll.ts';
import { createAsk, json } from '../raw-http.ts';
import { startRunner } from '../runner-process.ts';
import { STEERED_ROOT, type SteeredRunner, startSteeredRunner, type Work } from '../steered-runner.ts';

type Job = OperationResult<'job.show'>['job'];

describe('jobs', { timeout: 120_000 }, () => {
  let atoll: Atoll;
  let key: string;
  let runner: SteeredRunner;
  before(async () => {
    atoll = await startAtoll({ args: ['--no-runner'] });
    key = (await atoll.client.call('key.create', { role: 'runner' })).secret;
    runner = await startSteeredRunner('steered');
    await runner.register(atoll, key);
  });
  after(async () => {
    await atoll[Symbol.asyncDispose]();
    await runner[Symbol.asyncDispose]();
  });

  const show = async (jobId: string) => (await atoll.client.call('job.show', { jobId })).job;
  const over = (jobId: string) =>
    until(async () => {
      const job = await show(jobId);
      return job.status === 'completed' || job.status === 'failed' ? job : undefined;
    }, 30_000);
  const create = async () => (await atoll.client.call('sandbox.create', { wait: true })).sandbox.id;
  const snapshot = async (sandboxId: string) =>
    (await atoll.client.call('sandbox.snapshot', { sandboxId, wait: true })).snapshot?.id ?? '';
  const reserved = async () => (await atoll.client.call('health.show', {})).pool.reserved;

  type Begun = { job: Job; sandboxId: string };
  /** `prepare` gives what `begin` needs to be there. */
  type Kind = { work: Work; prepare(): Promise<string>; begin(of: string): Promise<Begun> };
  const kinds: Record<Job['type'], Kind> = {
    create: {
      work: 'create',
      prepare: async () => '',
      async begin() {
        const { job, sandbox } = await atoll.client.call('sandbox.create', {});
        return { job, sandboxId: sandbox.id };
      },
    },
    restore: {
      work: 'create',
      prepare: async () => snapshot(await create()),
      async begin(snapshotId) {
        const { job, sandbox } = await atoll.client.call('sandbox.create', { snapshotId });
        return { job, sandboxId: sandbox.id };
      },
    },
    snapshot: {
      work: 'snapshot',
      prepare: create,
      begin: async (sandboxId) => ({
        job: (await atoll.client.call('sandbox.snapshot', { sandboxId })).job,
        sandboxId,
      }),
    },
    delete: {
      work: 'delete',
      prepare: create,
      begin: async (sandboxId) => ({
        job: (await atoll.client.call('sandbox.delete', { sandboxId })).job,
        sandboxId,
      }),
    },
  };

  /** What is true of a sandbox when such a job is completed. */
  async function assertDone(type: Job['type'], { job, sandboxId }: Begun): Promise<void> {
    const { sandbox } = await atoll.client.call('sandbox.show', { sandboxId });
    const there = runner.sandboxes.get(sandboxId);
    if (type === 'delete')
      assert.deepEqual([sandbox.status, sandbox.cause, there], ['ended', 'ended', undefined]);
    else assert.deepEqual([sandbox.status, there?.epoch], ['ready', sandbox.epoch]);
    assert.equal(there?.root, type === 'restore' ? STEERED_ROOT : undefined);
    const { snapshots } = await atoll.client.call('sandbox.snapshots.list', { sandboxId });
    assert.deepEqual(
      snapshots.map(({ id }) => id),
      type === 'snapshot' ? [job.snapshotId] : [],
    );
    const { jobs } = await atoll.client.call('job.list', { sandboxId, type });
    assert.deepEqual(
      jobs.map(({ id, status }) => [id, status]),
      [[job.id, 'completed']],
    );
    assert.equal(await reserved(), runner.sandboxes.size);
  }

  for (const [type, { work, prepare, begin }] of Object.entries(kinds) as [Job['type'], Kind][]) {
    test(`${type}: what may pass is tried again, and counted`, async () => {
      const of = await prepare();
      for (let times = 0; times < 2; times++) runner.refuse(work, 'storage_failed');
      const begun = await begin(of);
      const between = await until(async () => {
        const job = await show(begun.job.id);
        return job.status === 'pending' && job.cause !== null ? job : undefined;
      });
      assert.deepEqual([between.cause, between.detail], ['storage_failed', 'As the test wants it.']);
      const done = await over(begun.job.id);
      assert.deepEqual([done.status, done.attempts, done.cause], ['completed', 3, null]);
      await assertDone(type, begun);
    });

    test(`${type}: what a runner refuses is not asked for again`, async () => {
      const of = await prepare();
      runner.refuse(work, 'sandbox_failed');
      const before = runner.asked[work];
      const failed = await over((await begin(of)).job.id);
      assert.deepEqual(
        [failed.status, failed.attempts, failed.cause, failed.detail],
        ['failed', 1, 'sandbox_failed', 'As the test wants it.'],
      );
      assert.equal(runner.asked[work], before + 1);
    });

    test(`${type}: the server is killed while the runner is at it`, async () => {
      const of = await prepare();
      const held = runner.hold(work);
      const begun = await begin(of);
      await held.asked;
      const running = await show(begun.job.id);
      assert.deepEqual([running.status, running.attempts], ['running', 1]);
      await atoll.kill();
      // It is done, and nobody hears of it.
      held.release();
      await startAgain();
      const done = await over(begun.job.id);
      assert.deepEqual([done.status, done.attempts > 1, done.cause], ['completed', true, null]);
      await assertDone(type, begun);
      // Told once: another start finds nothing to be done.
      const asked = runner.asked[work];
      await startAgain();
      await assertDone(type, begun);
      assert.equal(runner.asked[work], asked);
    });
  }

  test('the end of an earlier attempt is not that of the sandbox', async () => {
    const registrationId = await runner.register(atoll, key);
    runner.refuse('create', 'storage_failed');
    const sandboxId = await create();
    const beat = async (epoch: number) => {
      const ended = [{ sandboxId, epoch, cause: 'oom', detail: 'It ran out of memory.' }];
      const said = { runnerId: 'steered', registrationId, ended };
      const { status } = await createAsk(atoll)('POST', '/api/internal/runners/heartbeat', {
        ...json(said),
        key,
      });
      assert.equal(status, 200);
    };
    const show = async () => (await atoll.client.call('sandbox.show', { sandboxId })).sandbox;
    assert.equal((await show()).epoch, 2);
    await beat(1);
    // Made after it, and there: what was told before had its time.
    await create();
    assert.equal((await show()).status, 'ready');
    await beat(2);
    await until(async () => (await show()).status === 'ended');
  });

  test('after a start, jobs wait for runners that are longer away than a new job would', async () => {
    const held = runner.hold('create');
    const { job, sandboxId } = await kinds.create.begin('');
    await held.asked;
    await atoll.kill();
    held.release();
    await atoll.restart();
    // Those of a job that is new end with the sixth, after 3 s.
    const waiting = await until(async () => {
      const shown = await show(job.id);
      return shown.attempts > 8 ? shown : undefined;
    }, 15_000);
    assert.deepEqual([waiting.status, waiting.cause], ['pending', 'no_runner']);
    await runner.register(atoll, key);
    assert.equal((await over(job.id)).status, 'completed');
    await assertDone('create', { job, sandboxId });
  });

  /** Resolves when what the runner holds was looked through. */
  async function startAgain(): Promise<void> {
    const swept = runner.asked.sweep;
    await atoll.restart();
    await runner.register(atoll, key);
    await until(async () => runner.asked.sweep > swept);
  }
});

test('a real runner at work while its server is killed: the snapshot is there once, and whole', {
  timeout: 120_000,
}, async () => {
  const args = ['--no-runner', '--port', String(await freePort())];
  await using atoll = await startAtoll({ args });
  await using _runner = await startRunner(atoll, 'real');
  const { client } = atoll;
  const { sandbox } = await client.call('sandbox.create', { wait: true });
  const sum = 'find . -type f | sort | xargs cat | sha256sum';
  const command = `for i in $(seq 100); do head -c 200000 /dev/urandom > f$i; done; ${sum}`;
  const { stdout } = await client.call('sandbox.exec', { sandboxId: sandbox.id, command });
  const { job } = await client.call('sandbox.snapshot', { sandboxId: sandbox.id });
  await until(async () => (await client.call('job.show', { jobId: job.id })).job.status === 'running');
  await atoll.kill();
  await atoll.restart();
  const again = atoll.client;
  const done = await until(async () => {
    const { job: shown } = await again.call('job.show', { jobId: job.id });
    return shown.status === 'completed' || shown.status === 'failed' ? shown : undefined;
  }, 60_000);
  assert.deepEqual([done.status, done.attempts > 1], ['completed', true], JSON.stringify(done));
  const { snapshots } = await again.call('sandbox.snapshots.list', { sandboxId: sandbox.id });
  assert.deepEqual(
    snapshots.map(({ id }) => id),
    [job.snapshotId],
  );
  const made = await again.call('sandbox.create', { snapshotId: job.snapshotId ?? '', wait: true });
  const restored = await again.call('sandbox.exec', { sandboxId: made.sandbox.id, command: sum });
  assert.equal(restored.stdout, stdout);
  for (const { id: sandboxId } of [sandbox, made.sandbox])
    await again.call('sandbox.delete', { sandboxId, wait: true });
});

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
