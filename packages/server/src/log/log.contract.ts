/** What every Log must do. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, test } from 'node:test';
import type { Messages } from '@atoll/protocol/runner-link';
import type { Store } from '../store/store.ts';
import { eventsOf, frameMessages, framesAfter } from './frames.ts';
import type { Log, LogChunk, NewChunk, NewLog } from './log.ts';

export type OpenLog = () => Promise<{ store: Store; log: Log }>;

const MiB = 1024 * 1024;

/** Messages as they stand in what a bridge writes: something before, between and after them. */
export function messagesOf(texts: readonly (string | Uint8Array)[]): Messages {
  const spans: number[] = [];
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const text of texts) {
    const message = Buffer.from(text);
    parts.push(Buffer.from('before '), message, Buffer.from(' after\n'));
    spans.push(at + 7, at + 7 + message.length);
    at += message.length + 14;
  }
  return { bytes: Buffer.concat(parts), spans: Uint32Array.from(spans) };
}

/** Frames of `count` events from `firstSeq`, each with its seq in it, and padding that hardly shrinks. */
export function framesOf(firstSeq: number, count: number, padding = 0): Uint8Array {
  const messages = Array.from(
    { length: count },
    (_, n) => `{"n":${firstSeq + n},"é":"${noise(firstSeq + n, padding)}"}`,
  );
  return frameMessages(firstSeq, messagesOf(messages));
}

function noise(seed: number, length: number): string {
  return createHash('shake256', { outputLength: length })
    .update(String(seed))
    .digest('base64')
    .slice(0, length);
}

export function chunkOf(
  logId: string,
  firstSeq: number,
  count: number,
  fields: Partial<NewChunk> = {},
): NewChunk {
  const frames = [framesOf(firstSeq, count)];
  return { logId, tenant: 'a', epoch: 1, firstSeq, lastSeq: firstSeq + count - 1, frames, ...fields };
}

/** Everything after `after`, read page by page as a client that reconnects does. */
export async function readAll(log: Log, logId: string, after = 0, maxBytes = MiB): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let seen = after;
  let page: LogChunk[] = await log.read({ logId, after: seen, maxBytes });
  while (page.length > 0) {
    for (const chunk of page) {
      assert.ok(chunk.firstSeq <= seen + 1 && chunk.lastSeq > seen, 'pages neither skip nor repeat');
      parts.push(framesAfter(chunk, seen));
      seen = chunk.lastSeq;
    }
    page = await log.read({ logId, after: seen, maxBytes });
  }
  return Buffer.concat(parts);
}

export const seqsOf = (frames: Uint8Array) => [...eventsOf({ frames })].map((event) => event.seq);
export const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

const changeNothing = ({ sql }: Store) => ({
  query: sql.updateTable('meta').set({ value: 'x' }).where('key', '=', 'none'),
});

export function logContract(name: string, open: OpenLog): void {
  const opening = open();
  after(async () => (await opening).store.close());
  let logs = 0;

  async function newLog(fields: Partial<NewLog> = {}) {
    const { store, log } = await opening;
    const id = `log_${logs++}`;
    const createdAt = '2026-01-01T00:00:00.000Z';
    await store.commit(log.create({ id, tenant: 'a', sessionId: 'ses_1', epoch: 1, createdAt, ...fields }));
    return { store, log, id };
  }

  test(`${name}: an empty log`, async () => {
    const { log, id } = await newLog();
    assert.deepEqual({ ...(await log.head(id)) }, { lastSeq: 0, line: 0, epoch: 1 });
    assert.deepEqual(await log.read({ logId: id, after: 0, maxBytes: MiB }), []);
    assert.equal(await log.head('log_none'), undefined);
    await assert.rejects(log.read({ logId: 'log_none', after: 0, maxBytes: MiB }), { code: 'not_found' });
  });

  test(`${name}: what is appended is read back byte for byte (I3)`, async () => {
    const { log, id } = await newLog();
    const chunk = chunkOf(id, 1, 3, { line: 7 });
    const { time } = await log.append(chunk);
    assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const [read, ...more] = await log.read({ logId: id, after: 0, maxBytes: MiB });
    assert.deepEqual(more, []);
    assert.deepEqual({ ...read, frames: undefined }, { firstSeq: 1, lastSeq: 3, time, frames: undefined });
    assert.ok(Buffer.concat(chunk.frames).equals(read?.frames ?? Buffer.of()));
    assert.deepEqual({ ...(await log.head(id)) }, { lastSeq: 3, line: 7, epoch: 1 });
  });

  test(`${name}: the caller's bytes stay its own, also as a slice of a pool`, async () => {
    const { log, id } = await newLog();
    const frames = framesOf(1, 2);
    const pool = Buffer.alloc(64 * 1024, '#');
    const slice = pool.subarray(1000, 1000 + frames.length);
    slice.set(frames);
    const appended = log.append(chunkOf(id, 1, 2, { frames: [slice] }));
    assert.ok(slice.equals(frames));
    slice.fill('!');
    await appended;
    assert.ok(Buffer.from(await readAll(log, id)).equals(frames));
  });

  test(`${name}: appends without waiting stay in order and dense (I2)`, async () => {
    const { log, id } = await newLog();
    const appends = range(0, 199).map((n) => log.append(chunkOf(id, n * 5 + 1, 5)));
    await Promise.all(appends);
    assert.ok(Buffer.from(await readAll(log, id, 0, 2000)).equals(framesOf(1, 1000)));
  });

  test(`${name}: the wrong place is refused and leaves nothing`, async () => {
    const { log, id } = await newLog();
    await log.append(chunkOf(id, 1, 5));
    for (const firstSeq of [1, 5, 7])
      await assert.rejects(log.append(chunkOf(id, firstSeq, 2)), {
        code: 'storage_failed',
        detail: /ends at seq 5/,
      });
    await assert.rejects(log.append(chunkOf(id, 6, 1, { lastSeq: 5 })), { code: 'storage_failed' });
    await log.append(chunkOf(id, 6, 2));
    assert.deepEqual(seqsOf(await readAll(log, id)), range(1, 7));
  });

  test(`${name}: an older epoch is refused, a newer one taken over (I6)`, async () => {
    const { log, id } = await newLog({ epoch: 2 });
    await assert.rejects(log.append(chunkOf(id, 1, 1, { epoch: 1 })), { code: 'stale_epoch' });
    await log.append(chunkOf(id, 1, 1, { epoch: 2 }));
    await log.append(chunkOf(id, 2, 1, { epoch: 3 }));
    await assert.rejects(log.append(chunkOf(id, 3, 1, { epoch: 2 })), { code: 'stale_epoch' });
    assert.deepEqual({ ...(await log.head(id)) }, { lastSeq: 2, line: 0, epoch: 3 });
  });

  test(`${name}: another tenant's log cannot be appended to or forked (I12)`, async () => {
    const { store, log, id } = await newLog();
    await log.append(chunkOf(id, 1, 1));
    await assert.rejects(log.append(chunkOf(id, 2, 1, { tenant: 'b' })), { code: 'storage_failed' });
    const parent = { logId: id, seq: 1 };
    const fork = log.create({
      id: 'log_b',
      tenant: 'b',
      sessionId: 'ses_b',
      epoch: 1,
      createdAt: '',
      parent,
    });
    await assert.rejects(store.commit(fork), { code: 'not_found' });
  });

  test(`${name}: the highest line of an assignment is kept`, async () => {
    const { log, id } = await newLog();
    await log.append(chunkOf(id, 1, 1, { line: 9 }));
    await log.append(chunkOf(id, 2, 1, { line: 4 }));
    await log.append(chunkOf(id, 3, 1));
    assert.equal((await log.head(id))?.line, 9);
    await log.append(chunkOf(id, 4, 1, { line: 2, epoch: 2 }));
    assert.equal((await log.head(id))?.line, 2, 'a new assignment counts from 1 again');
  });

  test(`${name}: an append and its rows are one commit`, async () => {
    const { store, log, id } = await newLog();
    const put = (value: string) => ({ query: store.sql.insertInto('meta').values({ key: id, value }) });
    const read = () => store.first(store.sql.selectFrom('meta').select('value').where('key', '=', id));
    await log.append(chunkOf(id, 1, 1, { also: [put('one')] }));
    assert.equal((await read())?.value, 'one');
    await assert.rejects(log.append(chunkOf(id, 2, 1, { also: [put('again')] })), { code: 'storage_failed' });
    const also = [{ ...changeNothing(store), mustChange: { code: 'illegal_transition' as const } }];
    await assert.rejects(log.append(chunkOf(id, 2, 1, { also })), { code: 'illegal_transition' });
    assert.equal((await log.head(id))?.lastSeq, 1);
    assert.deepEqual(seqsOf(await readAll(log, id)), [1]);
  });

  test(`${name}: what makes the log may stand in the commit of its first events`, async () => {
    const { store, log } = await opening;
    const id = `log_${logs++}`;
    const createdAt = '2026-01-01T00:00:00.000Z';
    const before = log.create({ id, tenant: 'a', sessionId: 'ses_1', epoch: 0, createdAt });
    const also = [{ ...changeNothing(store), mustChange: { code: 'illegal_transition' as const } }];
    await assert.rejects(log.append(chunkOf(id, 1, 2, { before, also })), { code: 'illegal_transition' });
    assert.equal(await log.head(id), undefined);
    await log.append(chunkOf(id, 1, 2, { before }));
    assert.deepEqual({ ...(await log.head(id)) }, { lastSeq: 2, line: 0, epoch: 1 });
    assert.deepEqual(seqsOf(await readAll(log, id)), [1, 2]);
  });

  test(`${name}: a reader may come back anywhere (I2)`, async () => {
    const { log, id } = await newLog();
    for (let first = 1; first <= 91; first += 10) await log.append(chunkOf(id, first, 10));
    for (const maxBytes of [1, 500, MiB])
      for (let from = 0; from <= 100; from++)
        assert.deepEqual(seqsOf(await readAll(log, id, from, maxBytes)), range(from + 1, 100));
    assert.deepEqual(await log.read({ logId: id, after: 100, maxBytes: MiB }), []);
    assert.deepEqual(await log.read({ logId: id, after: 5000, maxBytes: MiB }), []);
  });

  test(`${name}: a page is about as big as asked for`, async () => {
    const { log, id } = await newLog();
    for (let first = 1; first <= 91; first += 10) await log.append(chunkOf(id, first, 10));
    const size = framesOf(1, 10).length;
    const page = await log.read({ logId: id, after: 0, maxBytes: size * 3 });
    assert.ok(page.length >= 3 && page.length <= 4);
    assert.equal((await log.read({ logId: id, after: 0, maxBytes: 1 })).length, 1);
  });

  test(`${name}: a fork reads through its parent, and its seqs go on`, async () => {
    const parent = await newLog();
    for (let first = 1; first <= 21; first += 10) await parent.log.append(chunkOf(parent.id, first, 10));
    const fork = await newLog({ parent: { logId: parent.id, seq: 14 } });
    assert.deepEqual({ ...(await fork.log.head(fork.id)) }, { lastSeq: 14, line: 0, epoch: 1 });
    assert.deepEqual(seqsOf(await readAll(fork.log, fork.id)), range(1, 14));
    await fork.log.append(chunkOf(fork.id, 15, 4));
    await parent.log.append(chunkOf(parent.id, 31, 1));
    for (const maxBytes of [1, MiB])
      for (let from = 0; from <= 18; from++)
        assert.deepEqual(seqsOf(await readAll(fork.log, fork.id, from, maxBytes)), range(from + 1, 18));
    assert.deepEqual(seqsOf(await readAll(fork.log, parent.id)), range(1, 31));
  });

  test(`${name}: a fork of a fork, at every place`, async () => {
    const root = await newLog();
    for (let first = 1; first <= 11; first += 5) await root.log.append(chunkOf(root.id, first, 5));
    const middle = await newLog({ parent: { logId: root.id, seq: 8 } });
    await middle.log.append(chunkOf(middle.id, 9, 6));
    for (const seq of [0, 3, 8, 9, 14]) {
      const leaf = await newLog({ parent: { logId: middle.id, seq } });
      await leaf.log.append(chunkOf(leaf.id, seq + 1, 3));
      for (let from = 0; from <= seq + 3; from++)
        assert.deepEqual(seqsOf(await readAll(leaf.log, leaf.id, from, 1)), range(from + 1, seq + 3));
    }
  });

  test(`${name}: a fork past the end of its parent is refused`, async () => {
    const { log, store, id } = await newLog();
    await log.append(chunkOf(id, 1, 2));
    const parent = { logId: id, seq: 3 };
    const fork = log.create({ id: 'log_far', tenant: 'a', sessionId: 's', epoch: 1, createdAt: '', parent });
    await assert.rejects(store.commit(fork), { code: 'not_found' });
  });

  test(`${name}: 100,000 events page through as they were appended`, async () => {
    const { log, id } = await newLog();
    const chunks = range(0, 399).map((n) =>
      chunkOf(id, n * 250 + 1, 250, { frames: [framesOf(n * 250 + 1, 250, 200)] }),
    );
    await Promise.all(chunks.map((chunk) => log.append(chunk)));
    const appended = Buffer.concat(chunks.flatMap((chunk) => chunk.frames));
    assert.ok(appended.equals(await readAll(log, id, 0, 256 * 1024)));
    const fromMiddle = seqsOf(await readAll(log, id, 77_777));
    assert.equal(fromMiddle.length, 22_223);
    assert.equal(fromMiddle[0], 77_778);
  });
}
