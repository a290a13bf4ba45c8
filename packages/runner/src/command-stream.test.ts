import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCommandStream, EVENT_BYTES } from './command-stream.ts';

const batch = (firstLine: number, size: number) => ({
  kind: 'messages' as const,
  firstLine,
  messages: { bytes: new Uint8Array(size), spans: new Uint32Array() },
});

test('events come in order, and the end is the last', async () => {
  const stream = createCommandStream(() => undefined);
  stream.push(batch(1, 10));
  stream.push({ kind: 'log', text: 'x' });
  stream.end({ kind: 'end', status: 'completed' });
  stream.push(batch(2, 10));
  stream.end({ kind: 'end', status: 'failed' });
  const events = await Array.fromAsync(stream);
  assert.deepEqual(
    events.map((event) => event.kind),
    ['messages', 'log', 'end'],
  );
  assert.ok(events[2]?.kind === 'end' && events[2].status === 'completed');
});

test('it is full above the mark and calls for more once below it', async () => {
  let calls = 0;
  const stream = createCommandStream(() => calls++);
  const MiB = 1024 * 1024;
  stream.push(batch(1, MiB - EVENT_BYTES));
  assert.equal(stream.full, false);
  stream.push(batch(2, MiB - EVENT_BYTES));
  assert.equal(stream.full, true);
  const reader = stream[Symbol.asyncIterator]();
  await reader.next();
  assert.deepEqual([stream.full, calls], [false, 1]);
  await reader.next();
  assert.equal(calls, 1);
});

test('a reader that waits gets what is pushed later', async () => {
  const stream = createCommandStream(() => undefined);
  const next = stream[Symbol.asyncIterator]().next();
  stream.push(batch(1, 1));
  assert.equal((await next).value.kind, 'messages');
});

test('events without content fill it too, and taking them costs the same however many wait', async () => {
  const stream = createCommandStream(() => undefined);
  for (let n = 0; n < 9000; n++) stream.push({ kind: 'log', text: '' });
  assert.equal(stream.full, true);
  const reader = stream[Symbol.asyncIterator]();
  for (let n = 0; n < 1000; n++) await reader.next();
  stream.push({ kind: 'log', text: 'last' });
  stream.end({ kind: 'end', status: 'completed' });
  const rest = await Array.fromAsync(stream);
  assert.equal(rest.length, 8002);
  assert.deepEqual(rest.at(-2), { kind: 'log', text: 'last' });
});
