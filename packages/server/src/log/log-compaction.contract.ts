/** What every Log must do when events are taken out of it. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { concatBytes } from '@atoll/protocol/lines';
import fc from 'fast-check';
import { eventsOf, type FramedEvent, frameEvent } from './frames.ts';
import { type OpenLog, readAll } from './log.contract.ts';
import type { Log } from './log.ts';

const MiB = 1024 * 1024;
const isPart = ({ data }: FramedEvent) => Buffer.from(data).includes('"part"');

type Shown = { seq: number; event: string; data: string };
const shown = (frames: Uint8Array): Shown[] =>
  [...eventsOf({ frames })].map(({ seq, event, data }) => ({
    seq,
    event,
    data: Buffer.from(data).toString(),
  }));

export function logCompactionContract(name: string, open: OpenLog): void {
  const opening = open();
  after(async () => (await opening).store.close());
  let logs = 0;

  /** `.` is a part, `|` ends a chunk, a space pauses; any other character is an event that stays. */
  async function written(text: string, parent?: { logId: string; seq: number }) {
    const { store, log } = await opening;
    const id = `compacted_${logs++}`;
    const fields = { id, tenant: 'a', sessionId: id, epoch: 1, createdAt: '' };
    await store.commit(log.create({ ...fields, ...(parent && { parent }) }));
    let firstSeq = (parent?.seq ?? 0) + 1;
    for (const chunk of text.split('|').filter((each) => each !== '')) {
      const frames = [...chunk].map((sign, n) => {
        const data = sign === '.' ? `{"part":${firstSeq + n}}` : `{"sign":"${sign}"}`;
        return frameEvent({ seq: firstSeq + n, event: 'message', data });
      });
      const lastSeq = firstSeq + frames.length - 1;
      await tick();
      await log.append({
        logId: id,
        tenant: 'a',
        epoch: 1,
        firstSeq,
        lastSeq,
        frames: [concatBytes(frames)],
      });
      firstSeq = lastSeq + 1;
    }
    return { store, log, id, lastSeq: firstSeq - 1 };
  }

  /** To its end. Returns how many events were taken. */
  async function compact(log: Log, logId: string, { from = 0, to = 0 } = {}): Promise<number> {
    let next: number | undefined = from;
    let taken = 0;
    for (let steps = 0; next !== undefined; steps++) {
      assert.ok(steps < 1000, 'it comes to an end');
      const done: Awaited<ReturnType<Log['compact']>> = await log.compact({
        logId,
        after: next,
        upTo: to,
        takes: isPart,
      });
      next = done.next;
      taken += done.events;
    }
    return taken;
  }

  /** One sign for each event as a reader gets them, a run as its borders. */
  const read = async (log: Log, logId: string, from = 0) =>
    shown(await readAll(log, logId, from)).map(({ event, data }) => {
      const { sign, part, ...run } = JSON.parse(data);
      return event === 'compacted' ? `[${run.from}-${run.to}]` : (sign ?? `.${part}`);
    });

  test(`${name}: a run of any length is one event, over the ends of chunks`, async () => {
    const { log, id, lastSeq } = await written('a..b|...|.|.c.|d');
    assert.equal(await compact(log, id, { to: lastSeq }), 8);
    assert.deepEqual(await read(log, id), ['a', '[2-3]', 'b', '[5-9]', 'c', '[11-11]', 'd']);
    assert.deepEqual({ ...(await log.head(id)) }, { lastSeq, line: 0, epoch: 1 });
    assert.equal(await compact(log, id, { to: lastSeq }), 0, 'again changes nothing');
    await log.append({
      ...{ logId: id, tenant: 'a', epoch: 1, firstSeq: lastSeq + 1, lastSeq: lastSeq + 1 },
      frames: [frameEvent({ seq: lastSeq + 1, event: 'message', data: '{"sign":"e"}' })],
    });
    assert.deepEqual(await read(log, id, 11), ['d', 'e'], 'and it goes on');
  });

  test(`${name}: a reader who stood within a run gets the run once, and then what follows (I2)`, async () => {
    const { log, id, lastSeq } = await written('a...|...|b');
    await compact(log, id, { to: lastSeq });
    for (const seq of [1, 2, 4, 6])
      assert.deepEqual(await read(log, id, seq), ['[2-7]', 'b'], `after ${seq}`);
    assert.deepEqual(await read(log, id, 7), ['b']);
  });

  test(`${name}: only what lies within the borders is taken`, async () => {
    const { log, id } = await written('....|....|....');
    assert.equal(await compact(log, id, { from: 2, to: 10 }), 8);
    assert.deepEqual(await read(log, id), ['.1', '.2', '[3-10]', '.11', '.12']);
  });

  test(`${name}: very many chunks become few, in many steps`, async () => {
    const { log, id, lastSeq } = await written(`${'.|'.repeat(40)}a|${'.|'.repeat(40)}b`);
    await compact(log, id, { to: lastSeq });
    assert.deepEqual(await read(log, id), ['[1-40]', 'a', '[42-81]', 'b']);
    const chunks = await log.read({ logId: id, after: 0, maxBytes: MiB });
    assert.deepEqual(
      chunks.map(({ firstSeq, lastSeq: last }) => [firstSeq, last]),
      [
        [1, 40],
        [41, 41],
        [42, 81],
        [82, 82],
      ],
    );
  });

  test(`${name}: events that stay keep their time, a run has that of its last event`, async () => {
    const { log, id, lastSeq } = await written('a|..|..|b');
    const times = (await log.read({ logId: id, after: 0, maxBytes: MiB })).map(({ time }) => time);
    await compact(log, id, { to: lastSeq });
    const at = (time: string | undefined) => log.seqAt({ logId: id, time: time ?? '' });
    assert.deepEqual(await Promise.all(times.map(at)), [1, 1, 5, 6]);
  });

  test(`${name}: a run ends where a fork begins, and forks of forks`, async () => {
    const { log, id, lastSeq } = await written('a......|...b');
    const fork = await written('x..y', { logId: id, seq: 7 });
    const leaf = await written('z', { logId: fork.id, seq: 4 });
    await compact(log, id, { to: lastSeq });
    assert.deepEqual(await read(log, id), ['a', '[2-4]', '[5-7]', '[8-10]', 'b']);
    assert.deepEqual(await read(log, fork.id), ['a', '[2-4]', '[5-7]', 'x', '.9', '.10', 'y']);
    assert.deepEqual(await read(log, leaf.id), ['a', '[2-4]', 'z']);
    await compact(log, fork.id, { from: 7, to: fork.lastSeq });
    assert.deepEqual(await read(log, fork.id, 7), ['x', '[9-10]', 'y']);
    await log.erase(id, []);
    assert.deepEqual(await read(log, fork.id), ['a', '[2-4]', '[5-7]', 'x', '[9-10]', 'y']);
  });

  test(`${name}: nothing is forked within a run, and the refusal names it`, async () => {
    const { store, log, id, lastSeq } = await written('a....b');
    const before = await log.whole({ logId: id, seq: 3 });
    await compact(log, id, { to: lastSeq });
    await assert.rejects(store.commit([before]), { code: 'illegal_transition' });
    for (const seq of [2, 4])
      await assert.rejects(log.whole({ logId: id, seq }), {
        code: 'seq_compacted',
        message: /2 to 5.* 1 or 5$/,
      });
    for (const seq of [1, 5, 6]) await store.commit([await log.whole({ logId: id, seq })]);
    const fork = await written('x', { logId: id, seq: 5 });
    await assert.rejects(log.whole({ logId: fork.id, seq: 3 }), { code: 'seq_compacted' });
    await store.commit([await log.whole({ logId: fork.id, seq: 6 })]);
  });

  test(`${name}: what is erased is not compacted any more`, async () => {
    const { log, id, lastSeq } = await written('a....b');
    await written('x', { logId: id, seq: lastSeq });
    await log.erase(id, []);
    await assert.rejects(compact(log, id, { to: lastSeq }), { code: 'illegal_transition' });
  });

  test(`${name}: replayed from anywhere, it is the same but for the runs`, async () => {
    const texts = fc.string({ unit: fc.constantFrom('.', '.', '.', '|', 'a'), minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(texts, fc.nat(40), fc.nat(40), async (text, one, other) => {
        const { log, id, lastSeq } = await written(text);
        if (lastSeq === 0) return;
        const before = shown(await readAll(log, id));
        const [from, to] = [Math.min(one, other) % lastSeq, Math.min(Math.max(one, other), lastSeq)];
        await compact(log, id, { from, to });
        for (let seq = 0; seq <= lastSeq; seq++) {
          const after = shown(await readAll(log, id, seq, 64));
          // Every event after `seq` is there once: itself, or within a run.
          let next = seq + 1;
          for (const event of after) {
            const run = event.event === 'compacted' ? JSON.parse(event.data) : undefined;
            if (run) assert.ok(run.from <= next && run.to === event.seq && run.from > from && run.to <= to);
            else assert.deepEqual(event, before[next - 1]);
            for (let taken = next; run && taken <= run.to; taken++)
              assert.match(before[taken - 1]?.data ?? '', /"part"/);
            next = event.seq + 1;
          }
          assert.equal(next, lastSeq + 1);
        }
      }),
      { numRuns: 60 },
    );
  });
}

/** Until the clock shows another millisecond. */
async function tick(): Promise<void> {
  for (const at = Date.now(); Date.now() === at; ) await new Promise(setImmediate);
}
