import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyPatch } from 'diff';
import { textOf, unifiedHunks } from './text.ts';

const hunks = (before: string, after: string) => unifiedHunks(before, after, Number.POSITIVE_INFINITY) ?? '';
const headed = (text: string) => `--- a\n+++ b\n${text}`;
const apply = (before: string, text: string) =>
  applyPatch(before, headed(text), { autoConvertLineEndings: false });

test('the shape that patch reads', () => {
  assert.equal(
    hunks('a\nb\nc', 'a\nB\nc\n'),
    '@@ -1,3 +1,3 @@\n a\n-b\n-c\n\\ No newline at end of file\n+B\n+c\n',
  );
  assert.equal(hunks('', 'x\n'), '@@ -0,0 +1 @@\n+x\n');
  assert.equal(hunks('x\ny', ''), '@@ -1,2 +0,0 @@\n-x\n-y\n\\ No newline at end of file\n');
  const lines = Array.from({ length: 30 }, (_, i) => `${i}\n`);
  const two = lines.with(3, 'three\n').with(20, 'twenty\n');
  assert.deepEqual(hunks(lines.join(''), two.join('')).match(/^@@.*$/gm), [
    '@@ -1,7 +1,7 @@',
    '@@ -18,7 +18,7 @@',
  ]);
});

test('texts that have nothing in common but their ends: soon, and right all the same', () => {
  const lines = (seed: number, count: number) =>
    Array.from({ length: count }, (_, i) => `${(i * 2_654_435_761 + seed) % 1_000_003}\n`).join('');
  const frame = (text: string) => `1\n2\n3\n4\n5\n${text}6\n7\n8\n9\n`;
  for (const [before, after] of [
    [frame(lines(1, 60_000)), frame(lines(2, 50_000))],
    ['\n'.repeat(1_000_000), 'x\n'.repeat(500_000)],
    ['a\nb\n'.repeat(100_000), 'b\nb\na\n'.repeat(70_000)],
  ] as const) {
    const began = performance.now();
    const told = hunks(before, after);
    const ms = performance.now() - began;
    assert.ok(ms < 10_000, `${ms} ms`);
    assert.equal(unifiedHunks(before, after, told.length - 1), undefined, 'too long for somebody');
    assert.equal(apply(before, told), after);
    assert.ok(told.length < before.length + after.length * 2 + 1_000_000);
  }
  const [, ...told] = hunks(frame(lines(1, 9000)), frame(lines(2, 9000))).split('\n');
  assert.deepEqual(
    [told.slice(0, 3), told.slice(-4, -1)],
    [
      [' 3', ' 4', ' 5'],
      [' 6', ' 7', ' 8'],
    ],
  );
});

test('text is UTF-8 without NUL, byte for byte', () => {
  assert.equal(textOf(Buffer.from('\ufeffgrün\r\n')), '\ufeffgrün\r\n');
  assert.equal(textOf(Buffer.from('a\0b')), undefined);
  assert.equal(textOf(Buffer.from([0xc3])), undefined);
});
