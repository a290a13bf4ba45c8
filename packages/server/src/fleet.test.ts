/** What becomes of the sandboxes that a runner turns out to hold, by timers of the test's. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { SandboxInventory } from '@atoll/protocol/runner-link';
import { PROTOCOL_VERSION } from '@atoll/protocol/wire';
import { createFleet } from './fleet.ts';
import { access } from './keys/access.ts';
import type { RunnerRegistry } from './runners/registry.ts';
import type { RemoteLink } from './runners/remote-link.ts';
import type { Sandboxes } from './sandboxes/sandboxes.ts';
import type { Sessions } from './sessions/sessions.ts';

const asked = {
  ...{ runnerId: 'one', hostname: 'h', address: 'http://127.0.0.1:1', capacity: 1, labels: {} },
  ...{ executorProfiles: [], drivers: [], version: '0', protocolVersion: PROTOCOL_VERSION },
  ...{ callbackToken: 'a-callback-token-of-a-test', incarnation: 'first' },
};

const held = (id: string): SandboxInventory => ({ id, epoch: 1, status: 'ready', lastLine: 0, commands: [] });

/** A runner that dialled in, holds `there`, and is asked to end what is in `gone`. */
function setUp(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  let there: SandboxInventory[] = [];
  const gone: string[] = [];
  const swept: string[] = [];
  let looking = Promise.resolve();
  const attached = new Map<string, RemoteLink>();
  const nothing = async () => undefined;
  const dialled = {
    runnerId: 'one',
    inventory: async () => there,
    createSandbox: nothing,
    deleteSandbox: async ({ sandboxId }) => void gone.push(sandboxId),
    lost: () => undefined,
  } as Partial<RemoteLink> as RemoteLink;
  const runners = {
    attach: async (link) => void attached.set(link.runnerId, link as RemoteLink),
    mayTake: async () => true,
    renewed: () => undefined,
    isTaken: async () => false,
    find: (runnerId) => {
      const link = attached.get(runnerId);
      return link && { link };
    },
  } as Partial<RunnerRegistry> as RunnerRegistry;
  const sessions = {
    awaitedOn: () => 0,
    adopt: () => looking,
    holds: (_runnerId, { id }) => id === 'of-a-session',
    // As of a runner on which something comes up that stands still.
    sweepRunner(runnerId) {
      swept.push(runnerId);
      return new Promise<void>(() => undefined);
    },
  } as Partial<Sessions> as Sessions;
  const sandboxes = { readyOn: async () => [] } as Partial<Sandboxes> as Sandboxes;
  const logger = { debug() {}, info() {}, warn() {}, error() {} };
  const fleet = createFleet({ runners, sessions, sandboxes, logger, now: () => 0, uptime: () => 0 });
  t.after(() => fleet.close());
  return {
    gone,
    swept,
    attached,
    /** Until the function that it returns is called, it is not known what becomes of its sessions. */
    delay() {
      const known = Promise.withResolvers<void>();
      looking = known.promise;
      return known.resolve;
    },
    register: () => fleet.register(access('t', 'runner'), asked, dialled),
    holds: (...ids: string[]) => {
      there = ids.map(held);
    },
    async pass(ms: number) {
      await settled();
      t.mock.timers.tick(ms);
      await settled();
    },
  };
}

async function settled(): Promise<void> {
  for (let i = 0; i < 10; i++) await setImmediate();
}

test('what nobody wants is ended at once, and what came up late a little later', async (t) => {
  const { register, holds, pass, gone, attached } = setUp(t);
  holds('of-a-session', 'left');
  await register();
  await pass(0);
  assert.deepEqual(gone, ['left']);
  await attached
    .get('one')
    ?.createSandbox({ sandbox: { id: 'new' } } as Parameters<RemoteLink['createSandbox']>[0]);
  holds('of-a-session', 'new', 'late');
  await pass(9_999);
  assert.deepEqual(gone, ['left']);
  await pass(1);
  assert.deepEqual(gone, ['left', 'late']);
});

test('one that asks again keeps its link, and hears when it was looked through', async (t) => {
  const { register, delay, pass, swept, attached } = setUp(t);
  const known = delay();
  await register();
  const link = attached.get('one');
  await register();
  await pass(0);
  assert.deepEqual(swept, []);
  known();
  await pass(0);
  assert.deepEqual(swept, ['one', 'one']);
  await register();
  await pass(0);
  assert.deepEqual(swept, ['one', 'one', 'one']);
  assert.equal(attached.get('one'), link);
});

test('one that was lost meanwhile is not looked at again', async (t) => {
  const { register, holds, pass, gone, attached } = setUp(t);
  await register();
  await pass(0);
  attached.clear();
  holds('late');
  await pass(10_000);
  assert.deepEqual(gone, []);
});
