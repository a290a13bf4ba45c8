import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { frameEvent } from '../log/frames.ts';
import { createEventLines } from './event-lines.ts';

const SESSION = 'ses_1';
const eventLines = createEventLines(SESSION);

/** In as many pieces as so much room makes of them. */
function linesOf(frames: Uint8Array, roomBytes: number): string[] {
  const lines: string[] = [];
  for (let at = 0; at < frames.length; ) {
    const { bytes, next } = eventLines(frames, at, Buffer.alloc(roomBytes));
    assert.ok(next > at && bytes.at(-1) === 0x0a);
    lines.push(...bytes.toString().trimEnd().split('\n'));
    at = next;
  }
  return lines;
}

test('every event of a chunk is one line, its data as it was', () => {
  const data = fc.oneof(
    fc.dictionary(fc.string(), fc.jsonValue()).map((value) => JSON.stringify(value)),
    fc.constantFrom('{ } ', '{},"seq":9', '{"a":', '', '[]', '{"a":1}x', ' {"b":"\\n"}', '{"c":"\\u12"}'),
    fc.string().map((text) => text.replace(/[\r\n]/g, ' ')),
  );
  const event = fc.record({ event: fc.constantFrom('message', 'done', 'mess'), data });
  const events = fc.array(event, { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(events, fc.nat(), fc.nat({ max: 2000 }), (all, from, roomBytes) => {
      const numbered = all.map((each, i) => ({ ...each, seq: from + 1 + i }));
      const lines = linesOf(Buffer.concat(numbered.map(frameEvent)), roomBytes);
      assert.equal(lines.length, numbered.length);
      for (const [i, { seq, event: name, data: text }] of numbered.entries()) {
        const line = lines[i] ?? '';
        const shown = isObject(text) ? text : JSON.stringify({ unparsable: Buffer.from(text).toString() });
        const head = `{"jsonrpc":"2.0","method":"session.event","params":{"sessionId":"${SESSION}","seq":${seq}`;
        assert.equal(line, `${head},"event":"${name}","data":${shown}}}`);
      }
    }),
  );
});

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
