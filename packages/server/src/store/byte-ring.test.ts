import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createByteRing } from './byte-ring.ts';

const CAPACITY = 64;

test('what is held keeps its bytes until it is released, whatever comes and goes', () => {
  const steps = fc.array(fc.oneof(fc.constant('release'), fc.nat(CAPACITY + 8)), { maxLength: 200 });
  fc.assert(
    fc.property(steps, (taken) => {
      const ring = createByteRing(CAPACITY);
      const held: { view: Uint8Array; mark: number }[] = [];
      for (const [mark, step] of taken.entries()) {
        if (step === 'release') {
          ring.release();
          held.shift();
        } else {
          const cut = step >> 1;
          const pieces = [new Uint8Array(cut).fill(mark), new Uint8Array(step - cut).fill(mark)];
          const view = ring.put(pieces);
          if (held.length === 0) assert.equal(view !== undefined, step <= CAPACITY);
          if (view) held.push({ view, mark });
        }
        for (const { view, mark } of held) assert.ok(view.every((byte) => byte === mark % 256));
      }
    }),
  );
});

test('a released place is used again', () => {
  const ring = createByteRing(CAPACITY);
  for (let round = 0; round < 100; round++) {
    assert.ok(ring.put([new Uint8Array(40)]));
    assert.equal(ring.put([new Uint8Array(40)]), undefined);
    assert.ok(ring.put([new Uint8Array(20)]));
    ring.release();
    assert.ok(ring.put([new Uint8Array(40)]), 'it wraps');
    ring.release();
    ring.release();
  }
});
