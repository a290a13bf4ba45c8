import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCommandStream, EVENT_BYTES } from './command-stream.ts';

const batch = (size: number, count = 0) => ({
  kind: 'messages' as const,
  messages: { bytes: new Uint8Array(size), spans: new Uint32Array(2 * count) },
});

function open(onSpace = () => {}) {
  let line = 0;
  return createCommandStream((count) => (line += count), onSpace);
}

test('events come in order and with their lines, and the end is the last', async () => {
  const stream = open();
  stream.push(batch(10, 3));
  stream.push({ kind: 'log', text: 'x' });
  stream.end({ kind: 'end', status: 'completed' });
  stream.push(batch(10));
  stream.end({ kind: 'end', status: 'failed' });
  const events = await Array.fromAsync(stream);
  assert.deepEqual(
    events.map((event) => [event.kind, event.line]),
    [
      ['messages', 3],
      ['log', 4],
      ['end', 5],
    ],
  );
  assert.ok(events[2]?.kind === 'end' && events[2].status === 'completed');
});

test('it is full above the mark and calls for more once below it', async () => {
  let calls = 0;
  const stream = open(() => void calls++);
  const MiB = 1024 * 1024;
  stream.push(batch(MiB - EVENT_BYTES));
  assert.equal(stream.full, false);
  stream.push(batch(MiB - EVENT_BYTES));
  assert.equal(stream.full, true);
  const reader = stream[Symbol.asyncIterator]();
  await reader.next();
  assert.deepEqual([stream.full, calls], [false, 1]);
  await reader.next();
  assert.equal(calls, 1);
});

test('a reader that waits gets what is pushed later', async () => {
  const stream = open();
  const next = stream[Symbol.asyncIterator]().next();
  stream.push(batch(1));
  assert.equal((await next).value.kind, 'messages');
});

test('events without content fill it too, and taking them costs the same however many wait', async () => {
  const stream = open();
  for (let n = 0; n < 9000; n++) stream.push({ kind: 'log', text: '' });
  assert.equal(stream.full, true);
  const reader = stream[Symbol.asyncIterator]();
  for (let n = 0; n < 1000; n++) await reader.next();
  stream.push({ kind: 'log', text: 'last' });
  stream.end({ kind: 'end', status: 'completed' });
  const rest = await Array.fromAsync(stream);
  assert.equal(rest.length, 8002);
  assert.deepEqual(rest.at(-2), { kind: 'log', text: 'last', line: 9001 });
});
