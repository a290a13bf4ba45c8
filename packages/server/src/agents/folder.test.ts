import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import { decodeFolder, MAX_FILES } from './folder.ts';

const file = (path: string, text = 'x', executable = false) => ({
  path,
  content: Buffer.from(text).toString('base64'),
  executable,
});
const refused = (code: string) => (error: unknown) => error instanceof AtollError && error.code === code;

test('files come out sorted, decoded and hashed', () => {
  const [a, b] = decodeFolder([file('b.txt', 'B', true), file('a/c.txt', '')]);
  assert.deepEqual([a?.path, a?.sizeBytes, b?.path, b?.executable], ['a/c.txt', 0, 'b.txt', true]);
  assert.equal(b?.hash, 'df7e70e5021544f4834bbee64a9e3789febc4be81470df629cad6ddb03320a5c');
});

test('bad paths are refused', () => {
  const paths = [
    '',
    '/etc/passwd',
    '../x',
    'a/../b',
    'a//b',
    './a',
    'a/',
    'a\\b',
    'a\0b',
    'x'.repeat(1025),
    Array(34).fill('a').join('/'),
  ];
  for (const path of paths)
    assert.throws(() => decodeFolder([file(path)]), refused('invalid_path'), path.slice(0, 40));
});

test('base64 is strict', () => {
  for (const content of ['@@@@', 'YQ', 'YQ==\n', 'YQ===', 'Y Q=='])
    assert.throws(
      () => decodeFolder([{ path: 'a', content, executable: false }]),
      refused('invalid_agent'),
      content,
    );
});

test('one path is one thing', () => {
  assert.throws(() => decodeFolder([file('a'), file('a')]), refused('invalid_agent'));
  assert.throws(() => decodeFolder([file('a'), file('a/b/c')]), refused('invalid_agent'));
  assert.equal(decodeFolder([file('a.txt'), file('a/b')]).length, 2);
});

test('too many files are refused', () => {
  assert.throws(
    () => decodeFolder(Array.from({ length: MAX_FILES + 1 }, (_, i) => file(`f${i}`))),
    refused('invalid_agent'),
  );
});
