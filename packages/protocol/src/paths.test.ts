import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkPath } from './paths.ts';

describe('checkPath', () => {
  const good = [
    'a',
    '.env',
    '..a',
    'a/b.txt',
    'a b',
    'é/ü',
    '...',
    'x'.repeat(1024),
    Array(32).fill('d').join('/'),
  ];
  for (const path of good) {
    it(`takes ${path.slice(0, 40)}`, () => assert.deepEqual(checkPath(path), path.split('/')));
  }

  const bad = [
    ['', /empty/],
    ['/', /absolute/],
    ['/etc/passwd', /absolute/],
    ['a//b', /empty segment/],
    ['a/', /empty segment/],
    ['.', /dot segment/],
    ['a/../b', /dot segment/],
    ['a/./b', /dot segment/],
    ['a\\b', /backslash/],
    ['a\0b', /NUL/],
    ['\ud800', /Unicode/],
    ['x'.repeat(1025), /1024 bytes/],
    ['é'.repeat(513), /1024 bytes/],
    [Array(33).fill('d').join('/'), /32 segments/],
  ] as const;
  for (const [path, detail] of bad) {
    it(`refuses ${JSON.stringify(path.slice(0, 40))}`, () =>
      assert.throws(() => checkPath(path), { code: 'invalid_path', message: detail }));
  }
});
