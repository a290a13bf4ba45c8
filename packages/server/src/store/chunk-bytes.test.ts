import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { packChunk, unpackChunk } from './chunk-bytes.ts';

const magic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

test('what is packed comes back byte for byte, long or short, whatever it begins with (I3)', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.uint8Array({ minLength: 4000, maxLength: 9000 }),
  );
  fc.assert(
    fc.property(bytes, fc.boolean(), (content, withMagic) => {
      const chunk = withMagic ? Buffer.concat([magic, content]) : Buffer.from(content);
      assert.ok(chunk.equals(unpackChunk(packChunk(chunk))));
    }),
  );
});

test('a long chunk of messages that repeat themselves shrinks; one that cannot shrink stays as it is', () => {
  const line = Buffer.from('id: 7\nevent: message\ndata: {"type":"stream_event"}\n\n');
  const long = Buffer.concat(Array.from({ length: 1000 }, () => line));
  assert.ok(packChunk(long).length < long.length / 10);
  assert.equal(packChunk(line), line);
  const random = crypto.getRandomValues(new Uint8Array(8192));
  assert.equal(packChunk(random), random);
});

test('damaged bytes are an error and never another chunk', () => {
  const packed = Buffer.from(packChunk(Buffer.alloc(10_000, 'abc')));
  assert.throws(() => unpackChunk(packed.subarray(0, packed.length - 3)));
});
