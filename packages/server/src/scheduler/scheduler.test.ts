import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { RunnerLink } from '@atoll/protocol/runner-link';
import fc from 'fast-check';
import type { RegisteredRunner, RunnerInfo } from '../runners/registry.ts';
import { createScheduler, type Demands } from './scheduler.ts';

function runner(id: string, info: Partial<RunnerInfo> = {}): RegisteredRunner {
  const all: RunnerInfo = {
    hostname: id,
    address: 'local',
    link: 'local',
    capacity: 10,
    labels: {},
    executorProfiles: ['claude'],
    drivers: ['bubblewrap'],
    version: '0',
    ...info,
  };
  return { id, info: all, link: {} as RunnerLink, tenant: undefined, draining: false };
}

function schedulerOf(all: readonly RegisteredRunner[], reserved: Record<string, number> = {}) {
  const taken = new Map(Object.entries(reserved));
  const nobody = { absent: async () => [], next: () => new Promise<void>(() => undefined) };
  const scheduler = createScheduler({ runners: { all: () => all, reserved: async () => taken, ...nobody } });
  const place = (demands: Demands = {}, preferred: string | null = null) =>
    scheduler.place({ tenant: 't', demands, preferred });
  return { place, taken };
}

describe('placement', () => {
  test('a burst spreads evenly, whether places are in the store yet or not', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 60 }),
        async (count, burst) => {
          const all = Array.from({ length: count }, (_, at) => runner(`run_${at}`, { capacity: 60 }));
          const { place, taken } = schedulerOf(all);
          const placed = await Promise.all(
            Array.from({ length: burst }, async () => {
              const { runner: found, settled } = await place();
              taken.set(found.id, (taken.get(found.id) ?? 0) + 1);
              settled();
              return found.id;
            }),
          );
          const sums = all.map(({ id }) => placed.filter((other) => other === id).length);
          assert.ok(Math.max(...sums) - Math.min(...sums) <= 1, `${sums}`);
        },
      ),
    );
  });

  test('who is smaller gets less', async () => {
    const { place, taken } = schedulerOf([
      runner('small', { capacity: 2 }),
      runner('large', { capacity: 8 }),
    ]);
    for (let i = 0; i < 10; i++) {
      const { runner: found, settled } = await place();
      taken.set(found.id, (taken.get(found.id) ?? 0) + 1);
      settled();
    }
    assert.deepEqual(Object.fromEntries(taken), { small: 2, large: 8 });
  });

  test('the runner that holds its files, while that has room; with nobody else, full or not', async () => {
    const both = [runner('empty'), runner('holder')];
    assert.equal((await schedulerOf(both, { holder: 9 }).place({}, 'holder')).runner.id, 'holder');
    assert.equal((await schedulerOf(both, { holder: 10 }).place({}, 'holder')).runner.id, 'empty');
    const [, holder] = both;
    assert.ok(holder);
    assert.equal((await schedulerOf([holder], { holder: 10 }).place({}, 'holder')).runner.id, 'holder');
  });

  const able = runner('able', { labels: { zone: 'b', memoryMb: '4096' }, drivers: ['docker'] });
  const refusals: [Demands, RegExp | undefined][] = [
    [{ labels: { zone: 'b' } }, undefined],
    [{ labels: { zone: 'a' } }, /able: label zone is not a/],
    [{ executorProfile: 'gemini' }, /executor profile gemini/],
    [{ driver: 'gvisor' }, /driver gvisor/],
    [{ image: 'alpine' }, undefined],
    [{ memoryMb: 4096 }, undefined],
    [{ memoryMb: 4097 }, /able: has 4096 MB of memory in all, not 4097/],
  ];
  for (const [demands, refusal] of refusals)
    test(`${JSON.stringify(demands)}: ${refusal ? 'refused with the reason' : 'met'}`, async () => {
      const placed = await schedulerOf([able])
        .place(demands)
        .catch((error: unknown) => error);
      if (!refusal) return assert.ok(!(placed instanceof Error));
      assert.ok(placed instanceof AtollError);
      assert.equal(placed.code, 'no_runner');
      assert.match(placed.detail, refusal);
    });

  test('everybody who was considered is named', async () => {
    const { place } = schedulerOf([runner('one'), runner('two')]);
    await assert.rejects(place({ driver: 'docker' }), /one: .*; two: /);
    await assert.rejects(schedulerOf([]).place(), /no runner is connected/);
  });
});

test('neither one that drains nor one of another tenant is chosen', async () => {
  const draining = { ...runner('draining'), draining: true };
  const foreign = { ...runner('foreign'), tenant: 'other' };
  const own = { ...runner('own'), tenant: 't' };
  const { place } = schedulerOf([draining, foreign, own]);
  assert.equal((await place({}, 'draining')).runner.id, 'own');
  const without = schedulerOf([draining, foreign]);
  await assert.rejects(without.place(), {
    code: 'no_runner',
    detail: 'draining: takes no more sandboxes',
  });
});

test('one that cannot be reached is chosen for what it holds, and where there is no other', async () => {
  const silent = { ...runner('silent'), link: { reached: () => false } as RegisteredRunner['link'] };
  const { place } = schedulerOf([silent, runner('busy')], { busy: 9 });
  assert.equal((await place()).runner.id, 'busy');
  assert.equal((await place({}, 'silent')).runner.id, 'silent');
  assert.equal((await schedulerOf([silent]).place()).runner.id, 'silent');
});

test('one that came back and is as silent as before is chosen only where there is no other, whatever it holds', async () => {
  const deaf = { ...runner('deaf'), link: { doubted: () => true } as RegisteredRunner['link'] };
  const { place } = schedulerOf([deaf, runner('busy')], { busy: 9 });
  assert.equal((await place({}, 'deaf')).runner.id, 'busy');
  assert.equal((await schedulerOf([deaf]).place({}, 'deaf')).runner.id, 'deaf');
});

describe('after a start', () => {
  /** Three runners that an earlier server knew; `appear` has one come back. */
  function setUp(t: TestContext) {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const known = [runner('fast', { labels: { disk: 'fast' } }), runner('slow'), runner('foreign')];
    const all: RegisteredRunner[] = [];
    let next = Promise.withResolvers<void>();
    const { placeSoon } = createScheduler({
      runners: {
        all: () => all,
        reserved: async () => new Map(),
        absent: async () =>
          known
            .filter(({ id }) => all.every((there) => there.id !== id))
            .map(({ id, info }) => ({
              id,
              info,
              tenant: id === 'foreign' ? 'default' : 't',
              draining: id === 'slow',
            })),
        next: () => next.promise,
      },
    });
    const settled = async () => {
      for (let i = 0; i < 10; i++) await setImmediate();
    };
    return {
      place: (demands: Demands) => placeSoon({ tenant: 't', demands, preferred: null }),
      async appear(id: string) {
        all.push(...known.filter((one) => one.id === id));
        next.resolve();
        next = Promise.withResolvers();
        await settled();
      },
      async pass(ms: number) {
        await settled();
        t.mock.timers.tick(ms);
        await settled();
      },
    };
  }

  test('one that was there before is waited for, whoever comes first', async (t) => {
    const { place, appear, pass } = setUp(t);
    const placed = place({ labels: { disk: 'fast' } });
    await pass(3_000);
    await appear('slow');
    await pass(999);
    await appear('fast');
    assert.equal((await placed).runner.id, 'fast');
  });

  test('for four seconds; then it is told who did not come, of those whom the tenant may know', async (t) => {
    const { place, pass } = setUp(t);
    const told: AtollError[] = [];
    place({}).catch((error: AtollError) => told.push(error));
    await pass(3_999);
    assert.equal(told.length, 0);
    await pass(1);
    const detail = 'no runner is connected; fast: did not come back since the server was started';
    assert.deepEqual(
      told.map((error) => [error.code, error.detail]),
      [['no_runner', detail]],
    );
  });

  test('nobody waits for what none of them could take', async (t) => {
    const { place } = setUp(t);
    await assert.rejects(place({ driver: 'docker' }), {
      code: 'no_runner',
      detail: 'no runner is connected',
    });
  });
});
