import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorRegistry } from '@atoll/protocol/errors';
import { generatedTables, withTable } from './generated.ts';
import { anchorOf, linksOf } from './links.ts';

const root = join(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

test('docs/errors.md lists the registry, all of it and nothing else', () => {
  const rows = [...read('docs/errors.md').matchAll(/^\| `(\w+)` \| (\d{3}) \| ([^|]+) \|/gm)];
  const listed = rows.map(([, code, status, title]) => [
    code,
    { status: Number(status), title: title?.trim() },
  ]);
  assert.deepEqual(Object.fromEntries(listed), errorRegistry);
  assert.equal(listed.length, Object.keys(errorRegistry).length, 'a code is listed twice');
});

for (const { file, name, text } of generatedTables) {
  test(`the table "${name}" of ${file} is what the code says`, () => {
    const now = read(file);
    assert.equal(now, withTable(now, name, text()), 'run npm run docs');
  });
}

test('a table has its place or it is an error', () => {
  const place = '<!-- generated: t (npm run docs) -->\nold\n<!-- end: t -->\nrest';
  assert.equal(
    withTable(place, 't', '| new |'),
    '<!-- generated: t (npm run docs) -->\n\n| new |\n\n<!-- end: t -->\nrest',
  );
  assert.throws(() => withTable('nothing here', 't', ''));
});

test('links are found in prose, not in code', () => {
  assert.deepEqual(linksOf('[a](x.md) `[b](y.md)` [c](z.md#h "t")\n```\n[d](w.md)\n```'), ['x.md', 'z.md#h']);
  assert.equal(anchorOf('One message, end to end'), 'one-message-end-to-end');
});
