/** What every Log must do with forks, moments and checkpoints. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import type { Store } from '../store/store.ts';
import { chunkOf, framesOf, type OpenLog, range, readAll, seqsOf } from './log.contract.ts';
import type { Log, LogChunk, NewLog } from './log.ts';

const MiB = 1024 * 1024;

export function logForksContract(name: string, open: OpenLog): void {
  const opening = open();
  after(async () => (await opening).store.close());
  let logs = 0;

  async function newLog(fields: Partial<NewLog> = {}): Promise<{ store: Store; log: Log; id: string }> {
    const { store, log } = await opening;
    const id = `log_${logs++}`;
    await store.commit(log.create({ id, tenant: 'a', sessionId: id, epoch: 1, createdAt: '', ...fields }));
    return { store, log, id };
  }

  /** A log with chunks of `size` events up to `lastSeq`. */
  async function filled(lastSeq: number, size: number) {
    const made = await newLog();
    for (let first = 1; first <= lastSeq; first += size)
      await made.log.append(chunkOf(made.id, first, Math.min(size, lastSeq - first + 1)));
    return made;
  }

  async function forkOf(logId: string, seq: number, own = 2): Promise<string> {
    const first = { lastSeq: seq + own, frames: framesOf(seq + 1, own) };
    return (await newLog({ parent: { logId, seq }, first })).id;
  }

  test(`${name}: a fork and its first events are one commit, and it goes on after them`, async () => {
    const { log, id } = await filled(20, 10);
    const before = new Date().toISOString();
    const fork = await forkOf(id, 14, 3);
    assert.deepEqual({ ...(await log.head(fork)) }, { lastSeq: 17, line: 0, epoch: 1 });
    const [chunk] = await log.read({ logId: fork, after: 14, maxBytes: MiB });
    assert.ok(chunk && chunk.time >= before && chunk.time <= new Date().toISOString());
    await log.append(chunkOf(fork, 18, 2));
    assert.deepEqual(seqsOf(await readAll(log, fork)), range(1, 19));
    assert.ok(Buffer.from(await readAll(log, fork)).equals(framesOf(1, 19)));
  });

  test(`${name}: the bytes that forks share are their parents'`, async () => {
    const { log, id } = await filled(30, 7);
    const middle = await forkOf(id, 18);
    const leaf = await forkOf(middle, 19);
    const shared = Buffer.from(await readAll(log, id)).subarray(0, framesOf(1, 18).length);
    for (const each of [middle, leaf])
      assert.ok(
        Buffer.from(await readAll(log, each))
          .subarray(0, shared.length)
          .equals(shared),
      );
  });

  /** The time of each chunk by its last seq, with a pause between any two, so that all are different. */
  async function spread(log: Log, id: string, firsts: readonly number[], size: number): Promise<LogChunk[]> {
    for (const first of firsts) {
      await tick();
      await log.append(chunkOf(id, first, size));
    }
    await tick();
    return log.read({ logId: id, after: 0, maxBytes: MiB });
  }

  test(`${name}: what was there at a time`, async () => {
    const { log, id } = await newLog();
    assert.equal(await log.seqAt({ logId: id, time: '2999-01-01T00:00:00.000Z' }), 0, 'an empty log');
    const firsts = range(0, 12).map((n) => n * 3 + 1);
    const chunks = await spread(log, id, firsts, 3);
    for (const [at, { time, firstSeq, lastSeq }] of chunks.entries()) {
      assert.equal(await log.seqAt({ logId: id, time }), lastSeq);
      const [earlier] = [chunks[at - 1]?.lastSeq ?? 0];
      assert.equal(await log.seqAt({ logId: id, time: justBefore(time) }), earlier, `before ${firstSeq}`);
    }
    assert.equal(await log.seqAt({ logId: id, time: '2000-01-01T00:00:00.000Z' }), 0);
    assert.equal(await log.seqAt({ logId: id, time: '2999-01-01T00:00:00.000Z' }), 39);
    await assert.rejects(log.seqAt({ logId: 'log_none', time: '' }), { code: 'not_found' });
  });

  test(`${name}: what was there at a time, through a fork's parents`, async () => {
    const root = await newLog();
    const { log } = root;
    await spread(log, root.id, [1, 4, 7, 10], 3);
    const middle = await forkOf(root.id, 8);
    await spread(log, middle, [11, 14], 3);
    const leaf = await forkOf(middle, 14, 1);
    await tick();
    await log.append(chunkOf(root.id, 13, 5));
    for (const each of [middle, leaf])
      for (const { time, lastSeq } of await log.read({ logId: each, after: 0, maxBytes: MiB }))
        assert.equal(await log.seqAt({ logId: each, time }), lastSeq);
  });

  test(`${name}: the latest checkpoint that is not too late, in the log or above it`, async () => {
    const { log, id, store } = await newLog();
    const keep = (logId: string, seq: number) =>
      log.checkpoint({ logId, tenant: 'a', seq, state: `${logId} at ${seq}` });
    await store.commit([keep(id, 0)]);
    for (const first of [1, 6, 11]) await log.append(chunkOf(id, first, 5, { also: [keep(id, first + 4)] }));
    const at = async (logId: string, seq: number) => (await log.checkpointBefore({ logId, seq }))?.state;
    assert.equal(await at(id, 0), `${id} at 0`);
    assert.equal(await at(id, 4), `${id} at 0`);
    assert.equal(await at(id, 5), `${id} at 5`);
    assert.equal(await at(id, 900), `${id} at 15`);
    const fork = await forkOf(id, 12);
    assert.equal(await at(fork, 14), `${id} at 10`, 'the one at 15 is of what came after the fork');
    await store.commit([keep(fork, 14)]);
    assert.deepEqual([await at(fork, 14), await at(fork, 13)], [`${fork} at 14`, `${id} at 10`]);
    const none = await newLog();
    assert.equal(await at(none.id, 3), undefined);
  });

  const leftOf = async (id: string) => {
    const { store } = await opening;
    const of = (table: 'log_chunks' | 'log_checkpoints') =>
      store.all(store.sql.selectFrom(table).selectAll().where('log_id', '=', id));
    return [(await of('log_chunks')).length, (await of('log_checkpoints')).length];
  };

  test(`${name}: erased: nothing is left, and the rows of the same commit are written`, async () => {
    const { log, id, store } = await filled(20, 5);
    await store.commit([log.checkpoint({ logId: id, tenant: 'a', seq: 5, state: 'x' })]);
    const put = { query: store.sql.insertInto('meta').values({ key: id, value: 'gone' }) };
    await log.erase(id, [put]);
    assert.equal(await log.head(id), undefined);
    assert.deepEqual(await leftOf(id), [0, 0]);
    const row = await store.first(store.sql.selectFrom('meta').select('value').where('key', '=', id));
    assert.equal(row?.value, 'gone');
  });

  test(`${name}: erased with forks: they read on, and the last of them takes it along`, async () => {
    const { log, id, store } = await filled(30, 10);
    for (const seq of [5, 15, 25])
      await store.commit([log.checkpoint({ logId: id, tenant: 'a', seq, state: `at ${seq}` })]);
    const near = await forkOf(id, 4);
    const far = await forkOf(id, 17);
    await log.erase(id, []);
    for (const [fork, last] of [
      [near, 6],
      [far, 19],
    ] as const)
      assert.ok(Buffer.from(await readAll(log, fork)).equals(framesOf(1, last)));
    assert.deepEqual(seqsOf(await readAll(log, id)), range(1, 17), 'no byte of what nobody shares');
    assert.deepEqual(await leftOf(id), [2, 2]);
    await assert.rejects(log.append(chunkOf(id, 31, 1)), { code: 'storage_failed' });
    const late = log.create({
      ...{ id: 'log_late', tenant: 'a', sessionId: 's', epoch: 1, createdAt: '' },
      parent: { logId: id, seq: 18 },
    });
    await assert.rejects(store.commit(late), { code: 'not_found' });
    await log.erase(far, []);
    assert.deepEqual(seqsOf(await readAll(log, id)), range(1, 4));
    assert.ok(Buffer.from(await readAll(log, near)).equals(framesOf(1, 6)));
    await log.erase(near, []);
    assert.equal(await log.head(id), undefined);
    assert.deepEqual(await leftOf(id), [0, 0]);
  });

  test(`${name}: a parent that nobody erased is left alone by the end of its forks`, async () => {
    const { log, id } = await filled(10, 5);
    const fork = await forkOf(id, 7);
    await log.erase(fork, []);
    assert.deepEqual(seqsOf(await readAll(log, id)), range(1, 10));
    assert.deepEqual(await leftOf(fork), [0, 0]);
  });

  test(`${name}: any tree of forks, erased in any order: whoever is left reads all of it`, async () => {
    const step = fc.record({ of: fc.nat(7), at: fc.nat(99), erase: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 14 }), async (steps) => {
        const { log, id } = await filled(12, 5);
        const left = new Map([[id, 12]]);
        const made = [id];
        for (const { of, at, erase } of steps) {
          const [chosen, lastSeq = 0] = [...left][of % left.size] ?? [];
          if (chosen === undefined) break;
          if (erase && left.size > 1) {
            await log.erase(chosen, []);
            left.delete(chosen);
          } else {
            const seq = 1 + (at % lastSeq);
            const fork = await forkOf(chosen, seq);
            left.set(fork, seq + 2);
            made.push(fork);
          }
          for (const [each, last] of left)
            assert.ok(Buffer.from(await readAll(log, each)).equals(framesOf(1, last)));
        }
        for (const each of left.keys()) await log.erase(each, []);
        for (const each of made)
          assert.deepEqual([await log.head(each), await leftOf(each)], [undefined, [0, 0]]);
      }),
      { numRuns: 40, seed: 11 },
    );
  });

  test(`${name}: forks that are made while it is erased have what they share`, async () => {
    const { log, id } = await filled(40, 4);
    const erasing = Array.from({ length: 6 }, (_, n) => forkOf(id, 35 - n * 5));
    const [, ...forks] = await Promise.allSettled([log.erase(id, []), ...erasing]);
    for (const fork of forks) {
      if (fork.status === 'rejected') assert.equal(fork.reason.code, 'not_found');
      else assert.ok(seqsOf(await readAll(log, fork.value)).length > 2);
    }
  });
}

/** Until the clock shows another millisecond. */
async function tick(): Promise<void> {
  const now = Date.now();
  while (Date.now() === now) await new Promise((resolve) => setImmediate(resolve));
}

const justBefore = (time: string) => new Date(Date.parse(time) - 1).toISOString();
