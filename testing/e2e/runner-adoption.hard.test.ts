/**
 * The coordinator is killed, or stopped, while turns run on runners elsewhere, and started again on the same data
 * directory: nothing of them is lost, doubled or out of order, and what was asked is answered. Over each link.
 */
import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { asking, counting } from '../agents.ts';
import { type Atoll, deploy, deployProgram, processesWith, startAtoll, until } from '../atoll.ts';
import { killSandboxes } from '../crash.ts';
import { random } from '../random.ts';
import type { RawEvent } from '../raw-sse.ts';
import { readThrough } from '../readers.ts';
import { type RunnerProcess, startRunner } from '../runner-process.ts';
import { StockRunner } from '../stock-runner.ts';

const data = ({ data: text }: RawEvent) => JSON.parse(text);
const named = (name: string, events: readonly RawEvent[]) =>
  events.filter(({ event }) => event === name).map(data);

/** Most of the time is waiting, so both links wait at the same time; what is tried over one is tried one by one. */
describe('over each link', { concurrency: true, timeout: 600_000 }, () => {
  for (const link of ['http', 'grpc'] as const)
    describe(link, { concurrency: false }, () => {
      let atoll: Atoll;
      let runner: RunnerProcess;
      before(async () => {
        const grpc = link === 'grpc' ? ['--grpc-port', '0'] : [];
        atoll = await startAtoll({ args: ['--no-runner', ...grpc], keepsPorts: true });
        runner = await startRunner(atoll, 'first', { link });
        await deployProgram(atoll.client, 'counting', counting);
        await deploy(atoll.client, 'asking', asking);
      });
      after(async () => {
        await runner.stop();
        await atoll[Symbol.asyncDispose]();
      });

      const open = async (agent: string) => (await atoll.client.call('session.create', { agent })).session.id;
      const show = async (sessionId: string) =>
        (await atoll.client.call('session.show', { sessionId })).session;
      const begin = async (sessionId: string, content: string) =>
        (await atoll.client.call('session.send', { sessionId, content })).turn.id;

      /** Dense from 1, and each number once. */
      function assertWhole(events: readonly RawEvent[], count: number): void {
        assert.deepEqual(
          events.map(({ seq }) => seq),
          events.map((_, at) => at + 1),
        );
        const numbers = named('message', events).flatMap(({ type, n }) => (type === 'count' ? [n] : []));
        assert.deepEqual(
          numbers,
          Array.from({ length: count }, (_, n) => n),
        );
      }

      test('killed again and again at random moments: each number comes once, in order', async (t: TestContext) => {
        const seed = Date.now() % 1_000_000;
        t.diagnostic(`seed ${seed}`);
        const next = random(seed);
        const id = await open('counting');
        const turn = await begin(id, '24000 20 40');
        const queued = await begin(id, '10 1 1');
        const reading = readThrough(atoll, id, queued);
        for (let kill = 0; kill < 5; kill++) {
          await delay(next() * 4_000);
          await atoll.kill();
          await delay(next() * 500);
          await atoll.restart();
          assert.equal((await show(id)).status, 'running', `after kill ${kill}`);
        }
        const events = await reading;
        const first = events.findIndex(({ event, data: text }) => event === 'done' && text.includes(turn));
        assertWhole(events.slice(0, first + 1), 24_000);
        assert.deepEqual(
          named('done', events).map(({ turnId, status }) => [turnId, status]),
          [
            [turn, 'completed'],
            [queued, 'completed'],
          ],
        );
        const { snapshots } = await until(async () => {
          const found = await atoll.client.call('session.snapshots.list', { sessionId: id });
          return found.snapshots.some(({ status }) => status === 'complete') && found;
        });
        assert.ok(snapshots.length > 0);
        await atoll.client.call('session.end', { sessionId: id });
      });

      async function openApproval(sessionId: string): Promise<string> {
        return until(async () => {
          const { approvals } = await atoll.client.call('approval.list', { sessionId });
          return approvals[0]?.id;
        });
      }
      const call = (command: string) => ({ tool: 'Bash', input: { command } });
      const restart = async () => {
        await atoll.kill();
        await atoll.restart();
      };
      const shownRunner = async () =>
        (await atoll.client.call('runner.show', { runnerId: runner.id })).runner;
      const reserved = async () => (await shownRunner()).reserved;
      const runnerIsThere = () => until(async () => (await shownRunner()).status !== 'lost', 20_000);

      test('an approval that was open is answered after it, before or after the runner is there', async () => {
        for (const wait of [async () => undefined, runnerIsThere]) {
          const id = await open('asking');
          const turn = await begin(id, JSON.stringify({ ask: [call('ls')] }));
          const reading = readThrough(atoll, id, turn);
          const approvalId = await openApproval(id);
          await restart();
          assert.equal((await show(id)).status, 'waiting');
          assert.equal(await openApproval(id), approvalId);
          await wait();
          const decision = { decision: 'deny', message: 'not now' } as const;
          await atoll.client.call('approval.decide', { sessionId: id, approvalId, ...decision });
          const events = await reading;
          assertWhole(events, 0);
          const [said] = named('message', events);
          assert.deepEqual(said.decisions, [decision]);
          assert.deepEqual(
            named('approval', events).map(({ status }) => status),
            ['requested', 'resolved'],
          );
          assert.equal(named('done', events)[0].status, 'completed');
          await atoll.client.call('session.end', { sessionId: id });
        }
      });

      test('an answer that was on disk reaches the executor, though the kill came before it was sent', async () => {
        const id = await open('asking');
        const turn = await begin(id, JSON.stringify({ ask: [call('ls')] }));
        const reading = readThrough(atoll, id, turn);
        const approvalId = await openApproval(id);
        // It is answered, and what it says is not taken.
        process.kill(runner.pid, 'SIGSTOP');
        const decided = atoll.client.call('approval.decide', {
          sessionId: id,
          approvalId,
          decision: 'allow',
        });
        decided.catch(() => undefined);
        await until(
          async () => (await atoll.client.call('approval.list', { sessionId: id })).approvals.length === 0,
        );
        await atoll.kill();
        process.kill(runner.pid, 'SIGCONT');
        await atoll.restart();
        const events = await reading;
        assert.deepEqual(named('message', events)[0].decisions, [{ decision: 'allow' }]);
        assert.equal(named('done', events)[0].status, 'completed');
        await atoll.client.call('session.end', { sessionId: id });
      });

      test('a turn is canceled right after it, before or after the runner is there', async () => {
        for (const wait of [async () => undefined, runnerIsThere]) {
          const id = await open('counting');
          const turn = await begin(id, '100000 20 2');
          const reading = readThrough(atoll, id, turn);
          await until(async () => (await show(id)).lastSeq > 20);
          await restart();
          await wait();
          await atoll.client.call('session.interrupt', { sessionId: id });
          const events = await reading;
          assertWhole(events, named('message', events).filter(({ type }) => type === 'count').length);
          const [done] = named('done', events);
          assert.equal(done.status, 'interrupted');
          assert.equal((await show(id)).status, 'idle');
          await atoll.client.call('session.end', { sessionId: id });
        }
      });

      test('a stop is a restart like another; what is idle keeps its sandbox, and takes messages meanwhile', async () => {
        const id = await open('counting');
        const idle = await open('counting');
        const { sandboxId } = await show(idle);
        const turn = await begin(id, '2000 20 10');
        const reading = readThrough(atoll, id, turn);
        await until(async () => (await show(id)).lastSeq > 50);
        await atoll.restart();
        const early = await begin(idle, '5 1 1');
        assertWhole(await readThrough(atoll, idle, early), 5);
        assert.equal(await reserved(), 2);
        assert.equal((await show(idle)).sandboxId, sandboxId);
        const events = await reading;
        assertWhole(events, 2_000);
        assert.equal(named('done', events)[0].status, 'completed');
        for (const sessionId of [id, idle]) await atoll.client.call('session.end', { sessionId });
      });

      test('what was said and done while nobody listened comes all the same: more than the runner may hold, too', async () => {
        const [short, long] = [await open('counting'), await open('counting')];
        const turns = [await begin(short, '300 20 10'), await begin(long, '300000 1 5000')];
        const reading = [short, long].map((id, at) => readThrough(atoll, id, turns[at] ?? ''));
        await until(async () => (await show(short)).lastSeq > 20);
        process.kill(atoll.pid, 'SIGSTOP');
        await delay(2_000);
        await atoll.kill();
        await delay(2_000);
        await atoll.restart();
        for (const [at, count] of [300, 300_000].entries()) {
          const events = (await reading[at]) ?? [];
          assertWhole(events, count);
          assert.equal(named('done', events)[0].status, 'completed');
        }
        for (const sessionId of [short, long]) await atoll.client.call('session.end', { sessionId });
      });

      test('a sandbox that ended meanwhile: what it said before comes, and why it ended', async () => {
        const [id, idle] = [await open('counting'), await open('counting')];
        const turn = await begin(id, '100000 20 10');
        const reading = readThrough(atoll, id, turn);
        await until(async () => (await show(id)).lastSeq > 20);
        const { lastSeq } = await show(id);
        await atoll.kill();
        await delay(1_500);
        await killSandboxes(runner.pid);
        await atoll.restart();
        const events = await reading;
        const numbers = named('message', events).filter(({ type }) => type === 'count');
        assertWhole(events, numbers.length);
        assert.ok(numbers.length > lastSeq + 100, `${numbers.length} after ${lastSeq}`);
        const [done] = named('done', events);
        assert.equal(done.status, 'failed');
        assert.notEqual(done.cause, 'runner_lost');
        await until(async () => (await show(idle)).status === 'paused');
        for (const sessionId of [id, idle]) {
          const next = await begin(sessionId, '5 1 1');
          assert.equal(named('done', await readThrough(atoll, sessionId, next)).at(-1).status, 'completed');
          await atoll.client.call('session.end', { sessionId });
        }
      });

      test('a session that is ended while its runner is not there is ended there, too', async () => {
        const id = await open('counting');
        const turn = await begin(id, '100000 20 2');
        const reading = readThrough(atoll, id, turn);
        await until(async () => (await show(id)).lastSeq > 20);
        await restart();
        await atoll.client.call('session.end', { sessionId: id });
        assert.equal(named('done', await reading)[0].cause, 'ended');
        await runnerIsThere();
        await until(async () => (await reserved()) === 0);
      });

      test('a shell command whose reader went with the server is stopped', async () => {
        const id = await open('counting');
        const mark = `sleep 4${Date.now() % 10_000}`;
        const running = atoll.client.call('session.exec', { sessionId: id, command: mark });
        running.catch(() => undefined);
        await until(async () => (await processesWith(mark)).length > 0);
        await restart();
        await runnerIsThere();
        await until(async () => (await processesWith(mark)).length === 0);
        assert.equal((await show(id)).status, 'idle');
        await atoll.client.call('session.end', { sessionId: id });
      });

      test('the runner dies while the server is down: runner_lost within 30 s, and the session goes on elsewhere', async () => {
        const id = await open('counting');
        const turn = await begin(id, '100000 20 2');
        const reading = readThrough(atoll, id, turn);
        await until(async () => (await show(id)).lastSeq > 20);
        const queued = await begin(id, '5 1 1');
        await atoll.kill();
        await runner.kill();
        await atoll.restart();
        const startedAt = performance.now();
        const second = await startRunner(atoll, 'second', { link });
        const [done] = named('done', await reading);
        assert.deepEqual([done.status, done.cause], ['interrupted', 'runner_lost']);
        const events = await readThrough(atoll, id, queued);
        assert.ok(performance.now() - startedAt < 30_000);
        assert.equal(named('done', events).at(-1).status, 'completed');
        assert.equal((await show(id)).runnerId, second.id);
        await atoll.client.call('session.end', { sessionId: id });
        assert.equal(await second.stop(), 0);
        runner = await startRunner(atoll, 'first', { link });
      });

      test('a runner that was started anew comes without the sandbox: its turn ends at once', async () => {
        const id = await open('counting');
        const turn = await begin(id, '100000 20 2');
        const reading = readThrough(atoll, id, turn);
        await until(async () => (await show(id)).lastSeq > 20);
        await atoll.kill();
        await runner.kill();
        await atoll.restart();
        runner = await startRunner(atoll, 'first', { link });
        const [done] = named('done', await reading);
        assert.deepEqual([done.status, done.cause], ['interrupted', 'runner_lost']);
        const next = await begin(id, '5 1 1');
        assert.equal(named('done', await readThrough(atoll, id, next)).at(-1).status, 'completed');
        await atoll.client.call('session.end', { sessionId: id });
      });

      test('down for longer than the lease: it stands still, and goes on when the server is there', async () => {
        const id = await open('counting');
        const turn = await begin(id, '4000 20 10');
        const reading = readThrough(atoll, id, turn);
        await until(async () => (await show(id)).lastSeq > 50);
        await atoll.kill();
        await until(async () => runner.stderr.includes('the lease is over'), 30_000);
        await atoll.restart();
        const events = await reading;
        assertWhole(events, 4_000);
        assert.equal(named('done', events)[0].status, 'completed');
        await atoll.client.call('session.end', { sessionId: id });
      });
    });
});

test('what a sandbox said before it ended is kept, however late its runner tells what it holds', {
  timeout: 60_000,
}, async () => {
  await using atoll = await startAtoll({ args: ['--no-runner', '--grpc-port', '0'], keepsPorts: true });
  await deployProgram(atoll.client, 'counting', counting);
  const before = new StockRunner(atoll.grpcUrl, atoll.key);
  await before.register('stock');
  before.say({ inventory: { sandboxes: [] } });
  const creating = atoll.client.call('session.create', { agent: 'counting' });
  let job = await before.next('job');
  for (; ; job = await before.next('job')) {
    before.say({ jobUpdate: { jobId: job.jobId, epoch: job.epoch, status: 'completed' } });
    if (job.type === 'create') break;
  }
  const { id: sessionId } = (await creating).session;
  const { turn } = await atoll.client.call('session.send', { sessionId, content: '2 1 1' });
  const { commandId } = await before.next('command');
  await atoll.kill();
  before.close();
  await atoll.restart();

  const stock = new StockRunner(atoll.grpcUrl, atoll.key);
  const { registrationId } = await stock.register('stock');
  const { sandboxId, epoch } = job;
  const end = { cause: 'oom', detail: 'It took more memory than it may.' };
  stock.say({ heartbeat: { registrationId, ended: [{ sandboxId, epoch, sessionId, ...end }] } });
  await stock.next('leaseRenewed');
  // Longer than what it said is waited for once it is read.
  await delay(11_000);
  const held = { id: sandboxId, sessionId, epoch, status: 'ended', lastLine: 3, commands: [commandId] };
  stock.say({ inventory: { sandboxes: [held] } });
  const of = { sandboxId, epoch, commandId };
  assert.equal((await stock.next('command')).commandId, commandId);
  stock.say({ eventBatch: { ...of, firstLine: 1, bytes: Buffer.from('{"n":0}\n{"n":1}\n') } });
  stock.say({ commandEnd: { ...of, line: 3, status: 'failed', sandboxEnded: true, ...end } });
  const events = await readThrough(atoll, sessionId, turn.id);
  assert.deepEqual(
    named('message', events).map(({ n }) => n),
    [0, 1],
  );
  assert.deepEqual(
    named('done', events).map(({ status, cause }) => [status, cause]),
    [['failed', 'oom']],
  );
  stock.close();
});
