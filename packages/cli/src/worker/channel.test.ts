import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Duplex, PassThrough, Writable } from 'node:stream';
import { test } from 'node:test';
import { channelOf } from './channel.ts';

const AHEAD_BYTES = 4 * 1024 * 1024;

/** Takes a write when it is told to. */
function slowOutput() {
  const taken: (() => void)[] = [];
  const output = new Writable({
    write: (_chunk, _encoding, done) => void taken.push(done),
  });
  return { output, take: () => taken.shift()?.() };
}

/** Whether it settles without anything else happening. */
async function settles(promise: Promise<void>): Promise<boolean> {
  const waiting = Symbol('waiting');
  const later = new Promise((resolve) => setImmediate(resolve, waiting));
  return (await Promise.race([promise, later])) !== waiting;
}

test('four mebibytes may be under way; then the next waits until the host took some', async () => {
  const { output, take } = slowOutput();
  const channel = channelOf(new PassThrough(), output);
  assert.ok(await settles(channel.write(Buffer.alloc(AHEAD_BYTES - 1))));
  const second = channel.write(Buffer.alloc(2));
  assert.equal(await settles(second), false);
  take();
  assert.ok(await settles(second));
});

test('who waits is told when the host is gone, and so is who comes later', async () => {
  const { output } = slowOutput();
  const channel = channelOf(new PassThrough(), output);
  const waiting = channel.write(Buffer.alloc(2 * AHEAD_BYTES));
  output.destroy();
  await assert.rejects(waiting, /the host is gone/);
  await assert.rejects(channel.write(Buffer.alloc(1)), /the host is gone/);
});

test('what is written in one go leaves together, and its memory is free once it was taken', async () => {
  const batches: number[] = [];
  const output = new Writable({
    writev(chunks, done) {
      batches.push(chunks.length);
      setImmediate(done);
    },
  });
  const channel = channelOf(new PassThrough(), output);
  const taken: number[] = [];
  for (let i = 0; i < 5; i++) void channel.write(Buffer.alloc(100), () => taken.push(i));
  assert.deepEqual(batches, []);
  await new Promise(process.nextTick);
  assert.deepEqual(batches, [5]);
  assert.deepEqual(taken, []);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(taken, [0, 1, 2, 3, 4]);
});

test('a pipe full of writes does not wait for more', async () => {
  const written: number[] = [];
  const output = new Writable({
    writev(chunks, done) {
      written.push(chunks.length);
      done();
    },
  });
  const channel = channelOf(new PassThrough(), output);
  for (let i = 0; i < 3; i++) void channel.write(Buffer.alloc(100 * 1024));
  assert.deepEqual(written, [2]);
});

test('closed in the same go, the last words still leave, though both directions are one stream', async () => {
  const written: string[] = [];
  const socket = new Duplex({
    read: () => undefined,
    write(chunk, _encoding, done) {
      written.push(String(chunk));
      done();
    },
  });
  const channel = channelOf(socket, socket);
  void channel.write(Buffer.from('go away\n'));
  channel.close();
  await once(socket, 'close');
  assert.deepEqual(written, ['go away\n']);
});

test('closed, it does not wait for a host that does not read', { timeout: 5000 }, async () => {
  const { output } = slowOutput();
  const channel = channelOf(new PassThrough(), output);
  await channel.write(Buffer.alloc(10));
  const held = setInterval(() => undefined, 1000);
  channel.close();
  await once(output, 'close');
  clearInterval(held);
});
