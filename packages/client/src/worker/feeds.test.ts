import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import { WorkerGone } from './errors.ts';
import { createFeeds, type Feeds } from './feeds.ts';
import type { Link, Sent } from './link.ts';

const SESSION = 'ses_1';

/** A worker whose sessions have `total` events; it tells as many as it is let, like a pipe that is full. */
function fakeWorker(feeds: Feeds, total: number) {
  const asked: Sent[] = [];
  const told = { next: 0 };
  const link: Link = {
    hello: undefined,
    async call(sent, _signal, onAnswer) {
      asked.push(sent);
      await Promise.resolve();
      if (sent.method === 'session.subscribe') told.next = Number(sent.params.after) + 1;
      else told.next = 0;
      onAnswer?.();
      return sent.params;
    },
    close: async () => undefined,
    ended: new Promise(() => undefined),
  };
  const tell = (most: number) => {
    for (let i = 0; i < most && told.next > 0 && told.next <= total; i++)
      feeds.onEvent(SESSION, { seq: told.next++, event: 'message', text: '{}' });
  };
  return { link, asked, told, tell };
}

const methods = (asked: readonly Sent[]) => asked.map(({ method, params }) => [method, params.after]);
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

test('who does not read is not told any more, and gets the rest later, each event once', async () => {
  const feeds = createFeeds();
  const worker = fakeWorker(feeds, 10_000);
  feeds.setLink(worker.link);
  const events = feeds.read(SESSION, 0, undefined);
  const first = events.next();
  await settle();
  worker.tell(10_000);
  await settle();
  assert.deepEqual(methods(worker.asked), [
    ['session.subscribe', 0],
    ['session.unsubscribe', undefined],
  ]);
  assert.equal((await first).value?.seq, 1);
  for (let seq = 2; seq <= 10_000; seq++) {
    const coming = events.next();
    await settle();
    worker.tell(100);
    assert.equal((await coming).value?.seq, seq);
  }
});

test('two readers of one session share its subscription, and each gets all from its own place', async () => {
  const feeds = createFeeds();
  const worker = fakeWorker(feeds, 6);
  feeds.setLink(worker.link);
  const late = feeds.read(SESSION, 4, undefined);
  const lateFirst = late.next();
  await settle();
  worker.tell(1);
  assert.equal((await lateFirst).value?.seq, 5);
  const all = feeds.read(SESSION, 0, undefined);
  const allFirst = all.next();
  await settle();
  worker.tell(6);
  assert.equal((await allFirst).value?.seq, 1);
  assert.equal((await late.next()).value?.seq, 6, 'what it knows does not come again');
  for (const seq of [2, 3, 4, 5, 6]) assert.equal((await all.next()).value?.seq, seq);
  assert.deepEqual(methods(worker.asked), [
    ['session.subscribe', 4],
    ['session.subscribe', 0],
  ]);
});

test('the next worker is asked for what comes after the last event', async () => {
  const feeds = createFeeds();
  const [first, second] = [fakeWorker(feeds, 3), fakeWorker(feeds, 5)];
  feeds.setLink(first.link);
  const events = feeds.read(SESSION, 0, undefined);
  const seen = [events.next(), events.next(), events.next(), events.next()];
  await settle();
  first.tell(3);
  await settle();
  feeds.setLink(undefined);
  feeds.setLink(second.link);
  await settle();
  second.tell(1);
  assert.deepEqual(
    (await Promise.all(seen)).map(({ value }) => value?.seq),
    [1, 2, 3, 4],
  );
  assert.deepEqual(methods(second.asked), [['session.subscribe', 3]]);
});

test('a reader ends with its session, with what refused it, when it leaves, or when all is closed', async () => {
  const feeds = createFeeds();
  const worker = fakeWorker(feeds, 1);
  feeds.setLink(worker.link);
  const over = feeds.read(SESSION, 0, undefined);
  const [only, end] = [over.next(), over.next()];
  await settle();
  worker.tell(1);
  feeds.onUnsubscribed(SESSION, undefined);
  assert.equal((await only).value?.seq, 1);
  assert.equal((await end).done, true);

  const refused = feeds.read(SESSION, 0, undefined).next();
  await settle();
  feeds.onUnsubscribed(SESSION, new AtollError('not_found'));
  await assert.rejects(refused, { code: 'not_found' });

  const left = new AbortController();
  const leaving = feeds.read(SESSION, 1, left.signal).next();
  await settle();
  left.abort();
  assert.equal((await leaving).done, true);
  await settle();
  assert.equal(worker.asked.at(-1)?.method, 'session.unsubscribe');

  const closed = feeds.read(SESSION, 1, undefined).next();
  await settle();
  feeds.close(new WorkerGone('closed'));
  await assert.rejects(closed, WorkerGone);
});
