import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createLineRing } from './line-ring.ts';

const KiB = 1024;

test('what is kept stays as it is until it is released', () => {
  const step = fc.oneof(
    fc.record({ keep: fc.integer({ min: 1, max: 40 * KiB }) }),
    fc.record({ release: fc.integer({ min: 1, max: 2 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { minLength: 30, maxLength: 60 }), (steps) => {
      const ring = createLineRing(100 * KiB);
      const kept: { bytes: Buffer; mark: number }[] = [];
      const release = (most: number) => {
        for (const { bytes, mark } of kept.splice(0, most)) {
          assert.ok(bytes.every((byte) => byte === mark));
          ring.release();
        }
      };
      for (const [i, each] of steps.entries()) {
        if ('release' in each) release(each.release);
        else {
          const room = ring.room();
          // Half of it can be too far from both ends.
          if (!room) assert.ok(sum(kept) > 36 * KiB, `no room beside ${sum(kept)} bytes`);
          const bytes = room?.subarray(0, each.keep).fill(i);
          if (bytes && ring.keep(bytes)) kept.push({ bytes, mark: i });
        }
      }
      release(kept.length);
    }),
  );
});

test('keeps nothing that is not its own, and has no room when it is full', () => {
  const ring = createLineRing(16 * KiB);
  assert.equal(ring.keep(Buffer.alloc(10)), false);
  const all = ring.room() ?? Buffer.alloc(0);
  assert.equal(all.length, 16 * KiB);
  assert.ok(ring.keep(all));
  assert.equal(ring.room(), undefined);
  ring.release();
  assert.equal(ring.room()?.length, 16 * KiB);
});

function sum(parts: readonly { bytes: Buffer }[]): number {
  return parts.reduce((all, { bytes }) => all + bytes.length, 0);
}
