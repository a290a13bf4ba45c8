import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
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
  const scheduler = createScheduler({ runners: { all: () => all, reserved: async () => taken } });
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
