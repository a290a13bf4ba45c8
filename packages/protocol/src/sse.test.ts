import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createSseParser, SSE_PING, SSE_RETRY, type SseEvent, sseFrame } from './sse.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

function parseCut(whole: Uint8Array, cuts: readonly number[]): SseEvent[] {
  const parser = createSseParser();
  const events: SseEvent[] = [];
  let at = 0;
  for (const cut of [...cuts, whole.length]) {
    events.push(...parser.push(whole.subarray(at, at + cut)));
    at = Math.min(whole.length, at + cut);
  }
  return events;
}

test('what is written comes back, in any cut of the bytes', () => {
  const data = fc.jsonValue().map((value) => JSON.stringify(value));
  fc.assert(
    fc.property(fc.array(data, { minLength: 1, maxLength: 10 }), fc.array(fc.nat(50)), (all, cuts) => {
      const frames = all.map((each, i) => sseFrame({ id: i + 1, event: 'message', data: each }));
      const events = parseCut(bytes(SSE_RETRY + frames.join(SSE_PING)), cuts);
      assert.deepEqual(
        events.map(({ lastEventId, event, data: got }) => [lastEventId, event, got]),
        all.map((each, i) => [String(i + 1), 'message', each]),
      );
    }),
  );
});

test('the specification: CR, LF and CRLF end lines, data lines join, comments are skipped', () => {
  for (const end of ['\n', '\r', '\r\n']) {
    const stream = [
      ': hello',
      'data: one',
      'data:two',
      'id: 7',
      '',
      'event: add',
      'data',
      '',
      'data: unfinished',
    ].join(end);
    for (const cuts of [[], Array.from({ length: 200 }, () => 1)]) {
      assert.deepEqual(parseCut(bytes(stream), cuts), [
        { lastEventId: '7', hasId: true, event: 'message', data: 'one\ntwo' },
        { lastEventId: '7', hasId: false, event: 'add', data: '' },
      ]);
    }
  }
});

test('a byte order mark at the start is no part of the first field, and retry is told', () => {
  const parser = createSseParser();
  assert.deepEqual(
    parser
      .push(new Uint8Array([0xef, 0xbb, 0xbf, ...bytes('retry: 1500\ndata: x\n\n')]))
      .map((event) => event.data),
    ['x'],
  );
  assert.equal(parser.retryMs, 1500);
});
