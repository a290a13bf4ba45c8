import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EntryLooks, FileChange } from '@atoll/protocol/schemas/diff';
import { createStyle } from '../terminal.ts';
import { createDiffStat } from './diff-stat.ts';
import { countLines, patchLines } from './patch.ts';

const looks = (some: Partial<EntryLooks> = {}): EntryLooks => ({
  type: 'file',
  mode: 0o644,
  sizeBytes: 2,
  target: null,
  targetBytes: null,
  ...some,
});
const change = (some: Partial<FileChange>): FileChange => {
  const { before = null, after = null } = some;
  const kind = before === null ? 'added' : after === null ? 'removed' : 'changed';
  return { path: 'p', pathBytes: null, change: kind, before, after, diff: null, omitted: null, ...some };
};
const symlink = (target: string) => looks({ type: 'symlink', mode: 0o777, target });
const directory = looks({ type: 'directory', mode: 0o755, sizeBytes: 0 });
const diff = '--- a/p\n+++ b/p\n@@ -1 +1,2 @@\n-a\n+b\n+--- c\n';

const cases: [what: string, change: Partial<FileChange>, lines: string[]][] = [
  ['text', { before: looks(), after: looks(), diff }, ['diff --git a/p b/p', ...diff.trim().split('\n')]],
  [
    'text of another mode',
    { before: looks({ mode: 0o600 }), after: looks({ mode: 0o1755 }) },
    ['diff --git a/p b/p', 'old mode 100600', 'new mode 101755'],
  ],
  ['an empty file', { after: looks({ sizeBytes: 0 }) }, ['diff --git a/p b/p', 'new file mode 100644']],
  [
    'a name that needs quotes',
    { path: 'ü\ufffd', pathBytes: btoa('\xc3\xbc\xff'), before: looks() },
    ['diff --git "a/\\303\\274\\377" "b/\\303\\274\\377"', 'deleted file mode 100644'],
  ],
  [
    'a symlink',
    { before: symlink('x'), after: symlink('y') },
    [
      'diff --git a/p b/p',
      '--- a/p',
      '+++ b/p',
      '@@ -1 +1 @@',
      '-x',
      '\\ No newline at end of file',
      '+y',
      '\\ No newline at end of file',
    ],
  ],
  [
    'binary',
    { before: looks(), after: looks({ sizeBytes: 3 }), omitted: 'binary' },
    ['# p changed: file 644, 2 bytes → file 644, 3 bytes (binary)'],
  ],
  [
    'too large',
    { after: looks(), omitted: 'too_large' },
    ['# p added: file 644, 2 bytes (too large for a diff)'],
  ],
  ['a directory', { before: directory }, ['# p removed: directory 755']],
  [
    'another type',
    { before: looks(), after: symlink('x') },
    ['# p changed: file 644, 2 bytes → symlink to x'],
  ],
  [
    'another name of a file',
    { after: looks({ type: 'hardlink', target: 'q' }) },
    ['# p added: file 644, another name of q, 2 bytes'],
  ],
  [
    'a symlink to what is not text',
    { after: { ...symlink('\ufffd'), targetBytes: 'gA==' } },
    ['# p added: symlink to \ufffd'],
  ],
];

for (const [what, of, lines] of cases)
  test(`as git says it: ${what}`, () => assert.deepEqual(patchLines(change(of)), lines));

test('what begins like a head is a line all the same', () => {
  assert.deepEqual(countLines(change({ diff })), { added: 2, removed: 1 });
});

function stat(columns: number, ...changes: Partial<FileChange>[]): string[] {
  const table = createDiffStat({ style: createStyle(false), columns });
  for (const one of changes) table.add(change(one));
  return [...table.rows(), table.total()];
}

test('a table as wide as the terminal', () => {
  const long = { path: `${'x'.repeat(60)}\u001b[2J`, before: looks(), after: looks(), diff };
  const many = { path: 'many', after: looks(), diff: `--- \n+++ \n@@ @@\n${'+\n'.repeat(500)}` };
  const dead = { path: 'dead', before: looks(), omitted: 'binary' as const };
  assert.deepEqual(stat(60, long, many, dead), [
    `M ${'x'.repeat(29)}…      3 +-`,
    `A many${' '.repeat(26)}    500 ${'+'.repeat(20)}`,
    `D dead${' '.repeat(26)}  file 644, 2 bytes (binary)`,
    '3 changes, 502 lines added, 1 removed',
  ]);
  assert.deepEqual(stat(80), ['0 changes, 0 lines added, 0 removed']);
});
