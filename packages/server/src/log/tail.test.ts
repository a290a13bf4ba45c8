import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTail, joinSmall, type TailChunk } from './tail.ts';

const chunk = (seq: number, bytes: number, onlyMessages = true): TailChunk => ({
  firstSeq: seq,
  lastSeq: seq,
  frames: new Uint8Array(bytes).fill(seq),
  onlyMessages,
});

test('small neighbours become one, in order, and large ones stay the bytes they are', () => {
  const large = chunk(3, 50);
  const joined = joinSmall([chunk(1, 4), chunk(2, 5, false), large, chunk(4, 10), chunk(5, 1)], 10);
  const seqs = joined.map(({ firstSeq, lastSeq }) => [firstSeq, lastSeq]);
  assert.deepEqual(seqs, [
    [1, 2],
    [3, 3],
    [4, 4],
    [5, 5],
  ]);
  assert.deepEqual([...(joined[0]?.frames ?? [])], [1, 1, 1, 1, 2, 2, 2, 2, 2]);
  assert.deepEqual(
    joined.map(({ onlyMessages }) => onlyMessages),
    [false, true, true, true],
  );
  assert.equal(joined[1]?.frames, large.frames);
  assert.deepEqual(joinSmall([], 10), []);
});

test('a reader that keeps up finds the next chunk; the oldest go when there is too much', () => {
  const tail = createTail();
  for (let seq = 1; seq <= 5; seq++) tail.push(chunk(seq, 900 * 1024));
  assert.equal(tail.after(4)?.firstSeq, 5);
  assert.equal(tail.after(0)?.firstSeq, undefined);
  tail.push(chunk(6, 5 * 1024 * 1024));
  assert.equal(tail.after(5)?.firstSeq, 6, 'the newest stays, whatever its size');
  tail.clear();
  assert.equal(tail.after(5), undefined);
});

test('what everybody has read is forgotten, and its bytes make room', () => {
  const tail = createTail();
  for (let seq = 1; seq <= 3; seq++) tail.push(chunk(seq, 900 * 1024));
  tail.forget(2);
  assert.equal(tail.after(1)?.firstSeq, undefined);
  assert.equal(tail.after(2)?.firstSeq, 3);
  for (let seq = 4; seq <= 5; seq++) tail.push(chunk(seq, 900 * 1024));
  assert.equal(tail.after(2)?.firstSeq, 3);
  tail.forget(9);
  assert.equal(tail.after(4)?.firstSeq, undefined);
});
