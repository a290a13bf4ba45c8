import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CommandEvent } from '@atoll/protocol/runner-link';
import { createCommandEvents } from './command-events.ts';

const stream = Buffer.from(
  [
    'retry: 1000\n\n',
    'id: 3\nevent: message\ndata: {"a":"ä"}\n\n',
    'id: 4\nevent: message\ndata: {}\n\n',
    ': ping\n\n',
    'id: 6\nevent: message\ndata: {"later":1}\n\n',
    'id: 7\nevent: log\ndata: {"text":"x"}\n\n',
    'id: 8\nevent: approval\ndata: {"requestId":"1","request":{"kind":"tool","tool":"Bash","input":{},"options":["allow"]}}\n\n',
    'id: 9\nevent: stderr\ndata: {"text":"y"}\n\n',
    'id: 10\nevent: end\ndata: {"status":"completed","usage":{"turns":1}}\n\n',
  ].join(''),
);

/** Each line with what it says. */
function flat(events: readonly CommandEvent[]): [line: number, what: unknown][] {
  return events.flatMap((event): [number, unknown][] => {
    if (event.kind !== 'messages') return [[event.line, event.kind]];
    const { bytes, spans } = event.messages;
    const count = spans.length / 2;
    return Array.from({ length: count }, (_, i) => [
      event.line - count + 1 + i,
      Buffer.from(bytes.subarray(spans[2 * i], spans[2 * i + 1])).toString(),
    ]);
  });
}

const expected = [
  [3, '{"a":"ä"}'],
  [4, '{}'],
  [6, '{"later":1}'],
  [7, 'log'],
  [8, 'approval'],
  [9, 'output'],
  [10, 'end'],
];

test('events come out with their lines, wherever the bytes are cut', () => {
  for (let at = 0; at <= stream.length; at++) {
    const events = createCommandEvents(2);
    const all = [...events.push(stream.subarray(0, at)), ...events.push(stream.subarray(at))];
    assert.deepEqual(flat(all), expected, `cut at ${at}`);
  }
  const one = createCommandEvents(2);
  assert.deepEqual(flat([...stream].flatMap((byte) => one.push(Uint8Array.of(byte)))), expected);
});

test('a run of messages is one event, whose bytes are those that came', () => {
  const chunk = stream.subarray(0, stream.indexOf(': ping'));
  const [run, ...rest] = createCommandEvents(0).push(chunk);
  assert.deepEqual(rest, []);
  assert.ok(run?.kind === 'messages');
  assert.equal(run.messages.bytes.buffer, chunk.buffer);
});

test('what a runner does not say is refused', () => {
  for (const text of [
    'id: 2\nevent: message\ndata: {}\n\n',
    'id: x\nevent: message\ndata: {}\n\n',
    `id: ${2 ** 53 + 2}\nevent: message\ndata: {}\n\n`,
    'id: 3\nevent: log\ndata: {\n\n',
    'id: 3\nevent: other\ndata: {}\n\n',
  ])
    assert.throws(() => createCommandEvents(2).push(Buffer.from(text)), { code: 'executor_failed' }, text);
  const brokenOff = Buffer.from('event: error\ndata: {"code":"internal"}\n\n');
  assert.throws(() => createCommandEvents(2).push(brokenOff), { code: 'runner_unreachable' });
  assert.throws(() => createCommandEvents(2).push(Buffer.from('id: 3\nevent: end\ndata: {}\n\n')));
  const endless = createCommandEvents(2);
  const piece = Buffer.alloc(8 * 1024 * 1024, 'x');
  assert.throws(() => Array.from({ length: 5 }, () => endless.push(piece)), { code: 'executor_failed' });
});

test('what would break the events of a reader is none: a raw CR or NUL, invalid UTF-8', () => {
  for (const inside of ['\r', '\0', '\xff']) {
    const chunk = Buffer.from(`id: 1\nevent: message\ndata: {"a":"${inside}"}\n\n`, 'latin1');
    assert.throws(() => createCommandEvents(0).push(chunk), { code: 'executor_failed' });
  }
});
