/** A runner's own side of its lease, against a coordinator that is the test, by a clock of the test's. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { AtollError, type ErrorCode } from '@atoll/protocol/errors';
import type { SandboxEnded } from '@atoll/protocol/runner-link';
import type { CoordinatorRequests } from '../coordinator/requests.ts';
import { createRegistration, leaseRequests, type RunnerDescription } from './registration.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const lease = { leaseMs: 15_000, heartbeatMs: 5_000, until: '' };

/** Lets what waits for settled promises run. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

function setUp(t: TestContext) {
  const { mock } = t;
  mock.timers.enable({ apis: ['setTimeout'] });
  const clock = { nowMs: 0 };
  const asked: string[] = [];
  const told: string[] = [];
  const sandboxes: SandboxEnded[] = [];
  let failing: ErrorCode | undefined;
  let next: ErrorCode | undefined;
  let registrations = 0;
  let wake = () => {};
  const requests = {
    async call(name: string, { registrationId, ended = [] }: { registrationId?: string; ended?: unknown[] }) {
      const said = [name.slice('runner.'.length), registrationId, ended.length || undefined];
      asked.push(said.filter((part) => part !== undefined).join(' '));
      const refusal = failing ?? next;
      next = undefined;
      if (refusal) throw new AtollError(refusal);
      return name === 'runner.register' ? { registrationId: `job_${++registrations}`, lease } : { lease };
    },
  } as unknown as CoordinatorRequests;
  const registration = createRegistration({
    requests: leaseRequests(requests),
    link: {
      ended: () => [...sandboxes],
      acknowledgeEnded: () => void sandboxes.splice(0),
      onEnded: (listener) => {
        wake = listener;
      },
    },
    description: { runnerId: 'one' } as RunnerDescription,
    clock: () => clock.nowMs,
    onExpired: () => void told.push('expired'),
    onRenewed: () => void told.push('renewed'),
    onFatal: ({ code }) => void told.push(`fatal ${code}`),
    random: () => 1,
    logger: silent,
  });
  t.after(() => registration.stop());
  return {
    registration,
    asked,
    told,
    fail: (code: ErrorCode | undefined) => {
      failing = code;
    },
    refuseNext: (code: ErrorCode) => {
      next = code;
    },
    sleep: (ms: number) => {
      clock.nowMs += ms;
    },
    async pass(ms: number) {
      for (let left = ms; left > 0; left -= 100) {
        clock.nowMs += Math.min(100, left);
        mock.timers.tick(Math.min(100, left));
        await settle();
      }
    },
    async end(sandboxId: string) {
      sandboxes.push({ sandboxId, epoch: 1, cause: 'oom', detail: '' });
      wake();
      await settle();
    },
  };
}

test('it registers, and renews every five seconds', async (t) => {
  const { registration, asked, pass } = setUp(t);
  await registration.registered();
  assert.equal(registration.mayAct(), true);
  await pass(11_000);
  assert.deepEqual(asked, ['register', 'heartbeat job_1', 'heartbeat job_1']);
});

test('it stops acting before the lease ends, and goes on when it is renewed after all', async (t) => {
  const { registration, told, fail, pass } = setUp(t);
  await registration.registered();
  registration.lookedThrough();
  fail('coordinator_unreachable');
  await pass(12_900);
  assert.deepEqual([registration.mayAct(), told], [true, []]);
  await pass(200);
  assert.deepEqual([registration.mayAct(), told], [false, ['expired']]);
  fail(undefined);
  await pass(6_000);
  assert.deepEqual([registration.mayAct(), told], [true, ['expired', 'renewed']]);
});

test('told that its registration is over, it registers anew', async (t) => {
  const { registration, asked, refuseNext, pass } = setUp(t);
  await registration.registered();
  refuseNext('stale_epoch');
  await pass(5_100);
  assert.deepEqual(asked, ['register', 'heartbeat job_1', 'register']);
  await pass(5_100);
  assert.equal(asked.at(-1), 'heartbeat job_2');
});

test('registered anew after its lease, it stands still until what is here was looked through', async (t) => {
  const { registration, told, fail, refuseNext, asked, pass } = setUp(t);
  await registration.registered();
  registration.lookedThrough();
  fail('coordinator_unreachable');
  await pass(14_000);
  fail(undefined);
  refuseNext('stale_epoch');
  await pass(12_000);
  assert.deepEqual(asked.slice(-3), ['heartbeat job_1', 'register', 'heartbeat job_2']);
  assert.deepEqual([registration.mayAct(), told], [false, ['expired']]);
  registration.lookedThrough();
  assert.deepEqual([registration.mayAct(), told], [true, ['expired', 'renewed']]);
});

test('after a sleep of the machine, too, when no timer saw the end', async (t) => {
  const { registration, told, refuseNext, pass, sleep } = setUp(t);
  await registration.registered();
  sleep(3_600_000);
  refuseNext('stale_epoch');
  await pass(5_100);
  assert.deepEqual([registration.mayAct(), told], [false, ['expired']]);
  registration.lookedThrough();
  assert.deepEqual([registration.mayAct(), told], [true, ['expired', 'renewed']]);
});

test('what ends is told at once, and again until it was heard', async (t) => {
  const { registration, asked, fail, pass, end } = setUp(t);
  await registration.registered();
  await settle();
  fail('coordinator_unreachable');
  await end('sbx_1');
  assert.deepEqual(asked, ['register', 'heartbeat job_1 1']);
  fail(undefined);
  await pass(300);
  assert.deepEqual(asked.slice(1), ['heartbeat job_1 1', 'heartbeat job_1 1']);
  await pass(5_100);
  assert.equal(asked.at(-1), 'heartbeat job_1');
});

test('refused for good, it gives up', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const told: string[] = [];
  const registration = createRegistration({
    requests: leaseRequests({
      call: async () => Promise.reject(new AtollError('wrong_version')),
    } as unknown as CoordinatorRequests),
    link: { ended: () => [], acknowledgeEnded: () => undefined, onEnded: () => undefined },
    description: { runnerId: 'one' } as RunnerDescription,
    clock: () => 0,
    onExpired: () => undefined,
    onRenewed: () => undefined,
    onFatal: ({ code }) => void told.push(code),
    logger: silent,
  });
  await assert.rejects(registration.registered(), { code: 'wrong_version' });
  await settle();
  assert.deepEqual([told, registration.mayAct()], [['wrong_version'], false]);
});
