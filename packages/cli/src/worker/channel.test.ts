import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough, Writable } from 'node:stream';
import { test } from 'node:test';
import { channelOf } from './channel.ts';

const MiB = 1024 * 1024;

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

test('one mebibyte may be under way; then the next waits until the host took some', async () => {
  const { output, take } = slowOutput();
  const channel = channelOf(new PassThrough(), output);
  assert.ok(await settles(channel.write(Buffer.alloc(MiB - 1))));
  const second = channel.write(Buffer.alloc(2));
  assert.equal(await settles(second), false);
  take();
  assert.ok(await settles(second));
});

test('who waits is told when the host is gone, and so is who comes later', async () => {
  const { output } = slowOutput();
  const channel = channelOf(new PassThrough(), output);
  const waiting = channel.write(Buffer.alloc(2 * MiB));
  output.destroy();
  await assert.rejects(waiting, /the host is gone/);
  await assert.rejects(channel.write(Buffer.alloc(1)), /the host is gone/);
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
