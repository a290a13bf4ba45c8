/** What every Log must do when logs are erased in the background, piece by piece. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { chunkOf, framesOf, type OpenLog, readAll } from './log.contract.ts';
import type { NewLog } from './log.ts';

export function logRetireContract(name: string, open: OpenLog): void {
  const opening = open();
  after(async () => (await opening).store.close());
  let logs = 0;

  async function newLog(fields: Partial<NewLog> = {}): Promise<string> {
    const { store, log } = await opening;
    const id = `retired_${logs++}`;
    await store.commit(log.create({ id, tenant: 'a', sessionId: id, epoch: 1, createdAt: '', ...fields }));
    return id;
  }

  async function filled(chunks: number, size: number): Promise<string> {
    const { log } = await opening;
    const id = await newLog();
    const all = Array.from({ length: chunks }, (_, n) => log.append(chunkOf(id, 1 + n * size, size)));
    await Promise.all(all);
    return id;
  }

  const forkOf = (logId: string, seq: number) =>
    newLog({ parent: { logId, seq }, first: { lastSeq: seq + 2, frames: framesOf(seq + 1, 2) } });

  async function sweepAll(): Promise<number> {
    let steps = 0;
    while (await (await opening).log.sweep()) assert.ok(++steps < 500, 'it comes to an end');
    return steps;
  }

  async function chunksOf(logId: string): Promise<number> {
    const { store } = await opening;
    return (
      await store.all(store.sql.selectFrom('log_chunks').select('first_seq').where('log_id', '=', logId))
    ).length;
  }

  test(`${name}: a short log goes at once, a long one piece by piece`, async () => {
    const { log } = await opening;
    const [short, long] = [await filled(3, 4), await filled(100, 2)];
    await log.retire(short, []);
    assert.deepEqual([await log.head(short), await chunksOf(short)], [undefined, 0]);
    await log.retire(long, []);
    assert.equal(await chunksOf(long), 100);
    await log.sweep();
    const left = await chunksOf(long);
    assert.ok(left > 0 && left < 100, `${left} are left after one step`);
    assert.ok((await sweepAll()) >= 3);
    assert.deepEqual([await log.head(long), await chunksOf(long)], [undefined, 0]);
    assert.equal(await log.sweep(), false);
  });

  test(`${name}: nobody appends to a log that is on its way out (I6)`, async () => {
    const { log } = await opening;
    const id = await filled(40, 1);
    await log.retire(id, []);
    await assert.rejects(log.append(chunkOf(id, 41, 1)), { code: 'stale_epoch' });
    await sweepAll();
  });

  test(`${name}: what runs in the same commit sees the log, and is done or not with it`, async () => {
    const { store, log } = await opening;
    const id = await filled(2, 1);
    const seen = store.sql
      .updateTable('logs')
      .set({ counted_bytes: 1 })
      .where('id', '=', id)
      .where('erased', '=', 0);
    const refused = { query: store.sql.deleteFrom('logs').where('id', '=', 'none') };
    const mustChange = { code: 'internal' } as const;
    await assert.rejects(log.retire(id, [{ ...refused, mustChange }]), { code: 'internal' });
    assert.equal(await chunksOf(id), 2);
    await log.retire(id, [{ query: seen, mustChange }]);
    assert.equal(await chunksOf(id), 0);
  });

  test(`${name}: any tree of forks, retired in any order and swept at any time: whoever is left reads all of it`, async () => {
    const { store, log } = await opening;
    const step = fc.record({
      of: fc.nat(7),
      at: fc.nat(99),
      does: fc.constantFrom('fork', 'retire', 'sweep'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 16 }), async (steps) => {
        const id = await filled(40, 2);
        const left = new Map([[id, 80]]);
        for (const { of, at, does } of steps) {
          const [chosen, lastSeq = 0] = [...left][of % left.size] ?? [];
          if (chosen === undefined || does === 'sweep') await log.sweep();
          else if (does === 'retire' && left.size > 1) {
            await log.retire(chosen, []);
            left.delete(chosen);
          } else {
            const seq = 1 + (at % lastSeq);
            left.set(await forkOf(chosen, seq), seq + 2);
          }
          for (const [each, last] of left)
            assert.ok(Buffer.from(await readAll(log, each)).equals(framesOf(1, last)));
        }
        for (const each of left.keys()) await log.retire(each, []);
        await sweepAll();
        const rows = await store.all(store.sql.selectFrom('logs').select('id'));
        const chunks = await store.all(store.sql.selectFrom('log_chunks').select('log_id'));
        assert.deepEqual([rows, chunks], [[], []]);
      }),
      { numRuns: 40 },
    );
  });
}
