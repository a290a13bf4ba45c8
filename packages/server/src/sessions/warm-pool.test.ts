/** The pool with a runner that does at once what it is told, and a clock that the tests turn. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import type { ClaimSandbox, CreateSandbox, DeleteSandbox, RunnerLink } from '@atoll/protocol/runner-link';
import type { AgentVersion } from '../agents/agents.ts';
import type { RegisteredRunner } from '../runners/registry.ts';
import { createWarmPool } from './warm-pool.ts';

const step = (name: string) => ({ query: { sql: name, parameters: [] } });
const told = { executor: { profile: 'program' }, env: { OWN: 'x' }, traceparent: 't' };
const silent = { debug() {}, info() {}, warn() {}, error() {} };

let nowMs = 0;
beforeEach(() => {
  nowMs = 1_000_000;
  mock.timers.enable({ apis: ['setTimeout'] });
  mock.method(performance, 'now', () => nowMs);
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Turns the clock in steps of 10 ms. */
async function pass(ms: number): Promise<void> {
  await settled();
  for (const end = nowMs + ms; nowMs < end; ) {
    nowMs += 10;
    mock.timers.tick(10);
    await settled();
  }
}

function versionOf(version: number, prewarm: number, limits = {}): AgentVersion {
  const settings = { executor: { kind: 'program', command: ['x'] }, prewarm, limits };
  return { version, manifestHash: `hash${version}`, settings } as unknown as AgentVersion;
}

function openPool(agents: Record<string, AgentVersion>, { capacity = 100 } = {}) {
  const calls = {
    created: [] as CreateSandbox[],
    claimed: [] as ClaimSandbox[],
    gone: [] as DeleteSandbox[],
  };
  const does = {
    create: async (_: CreateSandbox): Promise<void> => undefined,
    claim: async (_: ClaimSandbox): Promise<void> => undefined,
  };
  let reserved = 0;
  const link = {
    createSandbox(request: CreateSandbox) {
      calls.created.push(request);
      return does.create(request);
    },
    claimSandbox(request: ClaimSandbox) {
      calls.claimed.push(request);
      return does.claim(request);
    },
    deleteSandbox: async (request: DeleteSandbox) => void calls.gone.push(request),
  } as unknown as RunnerLink;
  const runner = { id: 'run', link } as unknown as RegisteredRunner;
  const keyOf = (tenant: string, name: string) => `${tenant}/${name}`;
  const pool = createWarmPool({
    store: {
      async commit([first]) {
        const change = Object(first?.query).sql === 'reserve' ? 1 : -1;
        if (reserved + change > capacity) throw new AtollError('no_capacity');
        reserved += change;
      },
    },
    runners: { link: () => runner.link, reserve: () => step('reserve'), release: () => step('release') },
    scheduler: { place: async () => ({ runner, settled: () => undefined }) },
    agents: {
      async version(tenant, name) {
        const found = agents[keyOf(tenant, name)];
        if (!found) throw new AtollError('not_found');
        return found;
      },
      prewarmed: async () =>
        Object.keys(agents).map((key) => {
          const [tenant = '', agent = ''] = key.split('/');
          return { tenant, agent };
        }),
    },
    logger: silent,
  });
  const claim = (agent = 'a', { tenant = 't', version = 1, own = {} } = {}) =>
    pool.claim({ tenant, agent, version, own }, told);
  return { pool, claim, calls, does, agents, reserved: () => reserved };
}

test('it is filled one after the other, each for its tenant’s version, parked and with an id for its session', async () => {
  const { pool, calls, does, reserved } = openPool({ 't/a': versionOf(1, 3), 'u/a': versionOf(4, 2) });
  let making = 0;
  let most = 0;
  does.create = async () => {
    most = Math.max(most, ++making);
    await new Promise((resolve) => setTimeout(resolve, 100));
    making--;
  };
  await pool.start();
  await pass(2_000);
  assert.equal(pool.size, 5);
  assert.equal(most, 1);
  assert.equal(reserved(), 5);
  const made = calls.created.map(({ epoch, sandbox }) => ({ epoch, ...sandbox }));
  assert.deepEqual(made.map(({ tenant, agentHash }) => `${tenant} ${agentHash}`).sort(), [
    ...Array.from({ length: 3 }, () => 't hash1'),
    ...Array.from({ length: 2 }, () => 'u hash4'),
  ]);
  for (const { epoch, parked, fresh, sessionId, workspaceId } of made)
    assert.deepEqual([epoch, parked, fresh, workspaceId], [1, true, true, sessionId]);
  assert.equal(new Set(made.map(({ sessionId }) => sessionId)).size, 5);
});

test('the rest after each is as long as it took', async () => {
  const { pool, calls, does } = openPool({ 't/a': versionOf(1, 3) });
  does.create = () => new Promise((resolve) => setTimeout(resolve, 100));
  await pool.start();
  await pass(190);
  assert.equal(calls.created.length, 1);
  await pass(30);
  assert.equal(calls.created.length, 2);
});

test('each is given away once, and hears what its session has of its own', async () => {
  const { pool, claim, calls } = openPool({ 't/a': versionOf(1, 4) });
  await pool.start();
  await pass(1_000);
  const all = await Promise.all(Array.from({ length: 6 }, () => claim()));
  const given = all.flatMap((sandbox) => sandbox?.sandboxId ?? []);
  assert.equal(given.length, 4);
  assert.equal(new Set(given).size, 4);
  for (const request of calls.claimed)
    assert.deepEqual({ ...request, sandboxId: '' }, { sandboxId: '', epoch: 1, ...told });
  assert.deepEqual(calls.gone, []);
});

test('another tenant, agent, version or demand is not served', async () => {
  const { pool, claim, calls } = openPool({ 't/a': versionOf(1, 2) });
  await pool.start();
  await pass(500);
  const others = [
    claim('a', { tenant: 'u' }),
    claim('b'),
    claim('a', { version: 2 }),
    claim('a', { own: { demands: { driver: 'process' } } }),
  ];
  assert.deepEqual(
    await Promise.all(others),
    Array.from({ length: 4 }, () => undefined),
  );
  assert.equal(calls.claimed.length, 0);
  assert.equal(pool.size, 2);
});

test('it is not filled while sessions take from it or have sandboxes made, for so long', async () => {
  const { pool, claim, calls } = openPool({ 't/a': versionOf(1, 3) });
  await pool.start();
  await pass(500);
  await Promise.all([claim(), claim()]);
  const made = pool.busy();
  await pass(1_500);
  assert.equal(calls.created.length, 3, 'somebody waits for a sandbox');
  made();
  await pass(480);
  assert.equal(calls.created.length, 3);
  await pass(100);
  assert.equal(pool.size, 3);
  await claim();
  pool.busy();
  await pass(2_500);
  assert.equal(pool.size, 3, 'beside a flow that does not end');
});

test('one that cannot be claimed is ended with its place, and nobody gets it', async () => {
  const { pool, claim, calls, does, reserved } = openPool({ 't/a': versionOf(1, 1) });
  await pool.start();
  await pass(100);
  does.claim = async () => {
    throw new AtollError('sandbox_failed', 'gone');
  };
  assert.equal(await claim(), undefined);
  assert.deepEqual(
    calls.gone.map(({ sandboxId, keep }) => [sandboxId, keep]),
    [[calls.created[0]?.sandbox.id, false]],
  );
  assert.equal(reserved(), 0);
  await pass(1_900);
  assert.equal(pool.size, 0);
  await pass(200);
  assert.equal(pool.size, 1);
});

test('an agent whose sandboxes cannot be made is tried ever less often, and holds nobody else up', async () => {
  const { pool, calls, does, reserved } = openPool({ 't/bad': versionOf(1, 5), 't/good': versionOf(2, 3) });
  does.create = async ({ sandbox }) => {
    if (sandbox.agentHash === 'hash1') throw new AtollError('executor_failed', 'no');
  };
  await pool.start();
  await pass(1_000);
  assert.equal(pool.size, 3);
  await pass(600_000);
  const tries = calls.created.filter(({ sandbox }) => sandbox.agentHash === 'hash1').length;
  assert.ok(tries > 8 && tries < 18, `${tries} in ten minutes`);
  assert.equal(reserved(), 3);
});

test('so is one whose sandboxes end by themselves', async () => {
  const { pool, calls, reserved } = openPool({ 't/a': versionOf(1, 1) });
  await pool.start();
  for (const end = nowMs + 600_000; nowMs < end; ) {
    await pass(100);
    for (const { sandbox } of calls.created) pool.sandboxEnded('run', sandbox.id);
  }
  assert.ok(calls.created.length > 8 && calls.created.length < 18, `${calls.created.length} in ten minutes`);
  await settled();
  assert.equal(reserved(), 0);
  assert.equal(calls.gone.length, calls.created.length, 'with its files');
});

test('one that is killed is replaced, also after others were long ago', async () => {
  const { pool, calls } = openPool({ 't/a': versionOf(1, 1) });
  await pool.start();
  for (let times = 1; times <= 8; times++) {
    await pass(200_000);
    const id = calls.created.at(-1)?.sandbox.id ?? '';
    pool.sandboxEnded('another runner', id);
    assert.equal(pool.size, 1);
    pool.sandboxEnded('run', id);
    assert.equal(pool.size, 0);
    await pass(2_100);
    assert.equal(pool.size, 1);
  }
});

test('without a place it waits, and takes one when there is', async () => {
  const { pool, claim, reserved } = openPool({ 't/a': versionOf(1, 3) }, { capacity: 2 });
  await pool.start();
  await pass(5_000);
  assert.equal(pool.size, 2);
  const taken = await claim();
  assert.ok(taken);
  await pass(5_000);
  assert.equal(pool.size, 1);
  await pool.discard(taken);
  await pass(1_100);
  assert.equal(pool.size, 2);
  assert.equal(reserved(), 2);
});

test('whoever needs a place gets one, and it is not taken back at once', async () => {
  const { pool, calls, reserved } = openPool({ 't/a': versionOf(1, 2) });
  await pool.start();
  await pass(500);
  assert.equal(await pool.giveWay('other'), false);
  assert.equal(await pool.giveWay('run'), true);
  assert.deepEqual([pool.size, reserved(), calls.gone.length], [1, 1, 1]);
  await pass(900);
  assert.equal(pool.size, 1);
  assert.equal(await pool.giveWay('run'), true);
  assert.equal(await pool.giveWay('run'), false);
});

test('another version drops what waits, also what is being made for the one before', async () => {
  const { pool, calls, does, agents, reserved } = openPool({ 't/a': versionOf(1, 2) });
  const slow = Promise.withResolvers<void>();
  does.create = async () => (calls.created.length > 1 ? slow.promise : undefined);
  await pool.start();
  await pass(100);
  assert.deepEqual([calls.created.length, pool.size], [2, 1]);
  agents['t/a'] = versionOf(2, 1);
  pool.agentChanged('t', 'a');
  await settled();
  assert.equal(calls.gone.length, 1);
  does.create = async () => undefined;
  slow.resolve();
  await pass(500);
  assert.equal(calls.gone.length, 2);
  assert.deepEqual([pool.size, reserved()], [1, 1]);
  assert.equal(calls.created.at(-1)?.sandbox.agentHash, 'hash2');
  delete agents['t/a'];
  pool.agentChanged('t', 'a');
  await pass(500);
  assert.deepEqual([pool.size, reserved()], [0, 0]);
});

test('a stop waits for what is being made, ends all, and nothing is made after it', async () => {
  const { pool, calls, does, reserved } = openPool({ 't/a': versionOf(1, 3) });
  await pool.start();
  await pass(20);
  const slow = Promise.withResolvers<void>();
  does.create = () => slow.promise;
  await pass(100);
  let stopped = false;
  const stopping = pool.stop().then(() => {
    stopped = true;
  });
  await settled();
  assert.equal(stopped, false);
  slow.resolve();
  await stopping;
  assert.deepEqual([pool.size, reserved(), calls.gone.length], [0, 0, calls.created.length]);
  const before = calls.created.length;
  pool.agentChanged('t', 'a');
  await pass(10_000);
  assert.equal(calls.created.length, before);
});

test('a limit on wall time wants none: it would run from a start that nobody saw', async () => {
  const { pool, calls } = openPool({ 't/a': versionOf(1, 3, { wallTimeMs: 1000 }) });
  await pool.start();
  await pass(1_000);
  assert.equal(calls.created.length, 0);
});
