import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createExcludes, nameFits } from './snapshot-excludes.ts';

test('caches are left out; repositories and lock files never are', () => {
  const excludes = createExcludes('');
  for (const path of [
    'home/.cache',
    'home/.npm/_cacache',
    'workspace/a/__pycache__',
    'workspace/node_modules/.cache',
  ])
    assert.equal(excludes(path, true), true, path);
  const kept = [
    'home/.claude',
    'workspace/.git',
    'workspace/.cache',
    'workspace/node_modules',
    'workspace/target',
  ];
  for (const path of kept) assert.equal(excludes(path, true), false, path);
  for (const path of ['workspace/package-lock.json', 'home/.cache', 'workspace/__pycache__'])
    assert.equal(excludes(path, false), false, `${path} is a file`);
});

test('.atollignore: names at any depth, paths from the top, directories, comments', () => {
  const excludes = createExcludes('# big things\n*.iso\n/out\ndata/raw\r\nlogs/\n\n');
  const excluded = (path: string, isDirectory = false) => excludes(`workspace/${path}`, isDirectory);
  assert.ok(excluded('a/b/disk.iso') && excluded('out') && excluded('data/raw') && excluded('x/logs', true));
  assert.ok(!excluded('a/out') && !excluded('x/data/raw') && !excluded('logs') && !excluded('disk.iso.txt'));
  assert.equal(excludes('home/disk.iso', false), false, 'it is the workspace’s');
});

test('no pattern takes long', () => {
  const started = performance.now();
  assert.equal(nameFits(`${'*a'.repeat(120)}*b`, 'a'.repeat(255)), false);
  assert.ok(performance.now() - started < 1000);
  assert.ok(nameFits('a?c*', 'abcd') && nameFits('*', '') && !nameFits('?', ''));
});
