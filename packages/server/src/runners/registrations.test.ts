/** Leases and incarnations of runners, by a clock of the test's. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import type { SandboxEnded } from '@atoll/protocol/runner-link';
import { PROTOCOL_VERSION } from '@atoll/protocol/wire';
import { access } from '../keys/access.ts';
import { createRegistrations, LEASE_MS, MARGIN_MS, type NewRegistration } from './registrations.ts';
import type { RunnerRegistry } from './registry.ts';
import type { RemoteLink } from './remote-link.ts';

const asked: NewRegistration = {
  runnerId: 'one',
  hostname: 'h',
  address: 'http://127.0.0.1:1',
  capacity: 1,
  labels: {},
  executorProfiles: [],
  drivers: [],
  version: '0',
  protocolVersion: PROTOCOL_VERSION,
  callbackToken: 'a-callback-token-of-a-test',
};
const key = access('t', 'runner');

function setUp({ lost = async () => {} }: { lost?: () => Promise<void> } = {}) {
  const clock = { nowMs: 0 };
  const told: string[] = [];
  const attached = new Map<string, unknown>();
  const reached = { now: true };
  const runners: Pick<
    RunnerRegistry,
    'attach' | 'mayTake' | 'isTaken' | 'lost' | 'drain' | 'renewed' | 'keepLeases' | 'reserved' | 'find'
  > = {
    async attach(link) {
      attached.set(link.runnerId, link);
      told.push('attached');
    },
    mayTake: async ({ tenant }) => tenant !== 'walled',
    isTaken: async () => false,
    async lost(runnerId) {
      attached.delete(runnerId);
      await lost();
    },
    drain: async () => void told.push('draining'),
    renewed: () => undefined,
    keepLeases: async () => undefined,
    reserved: async () => new Map([['one', 3]]),
    find: (runnerId) => attached.get(runnerId) as ReturnType<RunnerRegistry['find']>,
  };
  const registrations = createRegistrations({
    runners: runners as RunnerRegistry,
    now: () => 1_000_000 + clock.nowMs,
    clock: () => clock.nowMs,
    connect: ({ runnerId }, doubted) =>
      ({
        runnerId,
        reached: () => reached.now,
        doubted: () => doubted,
        lost: () => void told.push('link lost'),
      }) as Partial<RemoteLink> as RemoteLink,
    onLost: async (runnerId) => void told.push(`lost ${runnerId}`),
    onSandboxEnded: async (runnerId, { sandboxId }: SandboxEnded) =>
      void told.push(`ended ${sandboxId} on ${runnerId}`),
    heldBy: async () => 0,
    onRegistered: () => undefined,
    onAgain: (runnerId) => void told.push(`${runnerId} again`),
    onDraining: () => undefined,
  });
  return { registrations, clock, told, attached, reached };
}

test('a lease is renewed by heartbeats, and lost a margin after its end', async () => {
  const { registrations, clock, told } = setUp();
  const { registrationId, lease } = await registrations.register(key, asked);
  assert.deepEqual(lease, { leaseMs: 15_000, heartbeatMs: 5_000, until: new Date(1_015_000).toISOString() });
  clock.nowMs += LEASE_MS;
  const renewed = await registrations.heartbeat(key, { runnerId: 'one', registrationId, ended: [] });
  assert.equal(renewed.lease.until, new Date(1_030_000).toISOString());
  clock.nowMs += LEASE_MS + MARGIN_MS - 1;
  await registrations.expire();
  assert.deepEqual(told, ['attached']);
  clock.nowMs += 1;
  await registrations.expire();
  assert.deepEqual(told, ['attached', 'link lost', 'lost one']);
  await assert.rejects(registrations.heartbeat(key, { runnerId: 'one', registrationId, ended: [] }), {
    code: 'stale_epoch',
  });
});

test('a heartbeat after the end renews nothing', async () => {
  const { registrations, clock, told } = setUp();
  const { registrationId } = await registrations.register(key, asked);
  clock.nowMs += LEASE_MS + MARGIN_MS;
  await assert.rejects(registrations.heartbeat(key, { runnerId: 'one', registrationId, ended: [] }), {
    code: 'stale_epoch',
  });
  assert.deepEqual(told, ['attached', 'link lost', 'lost one']);
});

test('one that is heard and cannot be reached keeps the lease that it has, and no longer', async () => {
  const { registrations, clock, told, reached } = setUp();
  const { registrationId } = await registrations.register(key, asked);
  const beat = () => registrations.heartbeat(key, { runnerId: 'one', registrationId, ended: [] });
  reached.now = false;
  clock.nowMs += LEASE_MS;
  await assert.rejects(beat(), { code: 'runner_unreachable' });
  reached.now = true;
  await beat();
  reached.now = false;
  clock.nowMs += LEASE_MS + MARGIN_MS - 1;
  await assert.rejects(beat(), { code: 'runner_unreachable' });
  assert.deepEqual(told, ['attached']);
  clock.nowMs += 1;
  await registrations.expire();
  assert.deepEqual(told, ['attached', 'link lost', 'lost one']);
});

test('another registration of the same runner ends the first, and what that says later is refused', async () => {
  const { registrations, told } = setUp();
  const first = await registrations.register(key, asked);
  const second = await registrations.register(key, asked);
  assert.deepEqual(told, ['attached', 'link lost', 'lost one', 'attached']);
  const beat = (registrationId: string) =>
    registrations.heartbeat(key, { runnerId: 'one', registrationId, ended: [] });
  await assert.rejects(beat(first.registrationId), { code: 'stale_epoch' });
  await beat(second.registrationId);
});

test('the same process that asks again, as no answer came, has the registration that it had', async () => {
  const { registrations, clock, told, reached } = setUp();
  const process = { ...asked, incarnation: 'first' };
  const first = await registrations.register(key, process);
  clock.nowMs += LEASE_MS;
  reached.now = false;
  await assert.rejects(registrations.register(key, process), { code: 'runner_unreachable' });
  reached.now = true;
  const again = await registrations.register(key, process);
  assert.equal(again.registrationId, first.registrationId);
  assert.equal(again.lease.until, new Date(1_030_000).toISOString());
  clock.nowMs += LEASE_MS;
  await registrations.expire();
  assert.deepEqual(told, ['attached', 'one again']);
  const started = await registrations.register(key, { ...asked, incarnation: 'second' });
  assert.notEqual(started.registrationId, first.registrationId);
  assert.deepEqual(told.splice(0), ['attached', 'one again', 'link lost', 'lost one', 'attached']);
  clock.nowMs += LEASE_MS + MARGIN_MS;
  const late = await registrations.register(key, { ...asked, incarnation: 'second' });
  assert.notEqual(late.registrationId, started.registrationId);
  assert.deepEqual(told, ['link lost', 'lost one', 'attached']);
});

test('nobody else takes the id of one that is there; of one that was lost, whoever may', async () => {
  const { registrations, clock, attached } = setUp();
  await registrations.register(key, asked);
  const other = { ...asked, callbackToken: 'another-callback-token' };
  await assert.rejects(registrations.register(key, other), { code: 'already_exists' });
  await assert.rejects(registrations.register(access('u', 'runner'), asked), { code: 'already_exists' });
  attached.set('embedded', {});
  await assert.rejects(registrations.register(key, { ...asked, runnerId: 'embedded' }), {
    code: 'already_exists',
  });
  clock.nowMs += LEASE_MS + MARGIN_MS;
  await registrations.expire();
  await assert.rejects(registrations.register(access('walled', 'runner'), other), { code: 'already_exists' });
  await registrations.register(key, other);
});

test('who waits for one that is lost hears of it, whatever the store does', async () => {
  const lost = () => Promise.reject(new AtollError('storage_failed'));
  const { registrations, clock, told } = setUp({ lost });
  await registrations.register(key, asked);
  clock.nowMs += LEASE_MS + MARGIN_MS;
  await assert.rejects(registrations.expire(), { code: 'storage_failed' });
  assert.deepEqual(told, ['attached', 'link lost', 'lost one']);
});

test('one that is back before its loss is over is another one', async () => {
  const recorded = Promise.withResolvers<void>();
  const { registrations, clock, told } = setUp({ lost: () => recorded.promise });
  await registrations.register(key, asked);
  clock.nowMs += LEASE_MS + MARGIN_MS;
  const losing = registrations.expire();
  const back = registrations.register(key, asked);
  await new Promise(setImmediate);
  assert.deepEqual(told, ['attached', 'link lost']);
  recorded.resolve();
  await Promise.all([losing, back]);
  assert.deepEqual(told, ['attached', 'link lost', 'lost one', 'attached']);
});

test('another protocol version is refused with both', async () => {
  const { registrations } = setUp();
  await assert.rejects(registrations.register(key, { ...asked, protocolVersion: 7 }), {
    code: 'wrong_version',
    detail: `the runner speaks protocol version 7, this coordinator ${PROTOCOL_VERSION}`,
  });
});

test('two registrations at the same time follow each other', async () => {
  const { registrations, told } = setUp();
  await Promise.all([registrations.register(key, asked), registrations.register(key, asked)]);
  assert.deepEqual(told, ['attached', 'link lost', 'lost one', 'attached']);
});

test('what ended is told before the heartbeat is answered', async () => {
  const { registrations, told } = setUp();
  const { registrationId } = await registrations.register(key, asked);
  const ended = [{ sandboxId: 'sbx_1', epoch: 1, cause: 'oom', detail: 'too much' }];
  await registrations.heartbeat(key, { runnerId: 'one', registrationId, ended });
  assert.equal(told.at(-1), 'ended sbx_1 on one');
  assert.deepEqual(await registrations.deregister(key, { runnerId: 'one', registrationId }), {
    sandboxes: 3,
  });
  assert.equal(told.at(-1), 'draining');
});

test('one that was lost while it could not be reached is doubted when it comes back, by itself or after its lease', async () => {
  const { registrations, clock, attached, reached } = setUp();
  const doubted = () => (attached.get('one') as RemoteLink).doubted?.();
  const lateAgain = async () => {
    clock.nowMs += LEASE_MS + MARGIN_MS;
    await registrations.expire();
    await registrations.register(key, asked);
    return doubted();
  };
  await registrations.register(key, asked);
  assert.equal(doubted(), false);
  reached.now = false;
  assert.equal(await lateAgain(), true);
  await registrations.register(key, asked);
  assert.equal(doubted(), true);
});
