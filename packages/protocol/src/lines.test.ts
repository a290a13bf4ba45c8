import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concatBytes, createLineBlocks, LineTooLong, linesOf } from './lines.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (value: Uint8Array) => new TextDecoder().decode(value);

test('whatever the cut, the same lines come out, byte for byte', () => {
  const line = fc
    .uint8Array({ maxLength: 40 })
    .map((value) => value.map((byte) => (byte === 10 ? 11 : byte)));
  fc.assert(
    fc.property(fc.array(line, { maxLength: 20 }), fc.array(fc.nat(60), { maxLength: 30 }), (lines, cuts) => {
      const whole = concatBytes(lines.flatMap((value) => [value, bytes('\n')]));
      const blocks = createLineBlocks();
      const got: number[][] = [];
      let at = 0;
      for (const cut of [...cuts, whole.length]) {
        for (const block of blocks.push(whole.subarray(at, at + cut)))
          for (const each of linesOf(block)) got.push([...each]);
        at = Math.min(whole.length, at + cut);
      }
      assert.deepEqual(
        got,
        lines.map((value) => [...value]),
      );
      assert.equal(blocks.rest().length, 0);
    }),
  );
});

test('a line may be as long as the limit and no longer, in one chunk or in many', () => {
  const fits = createLineBlocks(8);
  assert.deepEqual(fits.push(bytes('12345678\n')).map(text), ['12345678\n']);
  assert.throws(() => createLineBlocks(8).push(bytes('123456789\n')), LineTooLong);
  const pieces = createLineBlocks(8);
  pieces.push(bytes('12345'));
  assert.throws(() => pieces.push(bytes('6789')), LineTooLong);
});

test('a short line is not refused for the long block around it', () => {
  const blocks = createLineBlocks(4);
  assert.deepEqual(blocks.push(bytes('ab\ncd\nef\ngh')).map(text), ['ab\ncd\nef\n']);
  assert.equal(text(blocks.rest()), 'gh');
});

test('what is held does not change when the chunk is reused', () => {
  for (const chunk of [bytes('half'), Buffer.from('half')]) {
    const blocks = createLineBlocks();
    blocks.push(chunk);
    chunk.fill(120);
    assert.deepEqual(blocks.push(bytes(' done\nmore\n')).map(text), ['half done\n', 'more\n']);
  }
});

test('a line that comes byte by byte costs its bytes, not an object for each', () => {
  const blocks = createLineBlocks();
  const used = () => process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
  const before = used();
  const piece = bytes('x');
  for (let count = 0; count < 1_000_000; count++) blocks.push(piece);
  assert.ok(used() - before < 32 * 1024 * 1024, `${used() - before} bytes`);
  assert.deepEqual(
    blocks.push(bytes('\n')).map((block) => block.length),
    [1_000_001],
  );
});
