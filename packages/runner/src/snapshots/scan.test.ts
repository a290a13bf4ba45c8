import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { rebuild } from './rebuild.ts';
import { type Scanned, scan } from './scan.ts';
import { breathe, describeTree, memoryBlobs, places } from './trees.fixture.ts';

const { newPlace } = places('scan');

async function take(directory: string, put: (bytes: Uint8Array) => Promise<string>, before?: Scanned) {
  const scanned = await scan({ directory, known: before?.tree, put, maxBytes: 1e9, breathe });
  assert.ok(scanned);
  return scanned;
}

test('a file in whose place something else is that no snapshot keeps', async () => {
  const directory = newPlace();
  const blobs = memoryBlobs();
  const workspace = join(directory, 'workspace');
  for (const name of ['a', 'b', 'c']) writeFileSync(join(workspace, name), name);
  const before = lstatSync(workspace);
  const one = await take(directory, blobs.put);
  rmSync(join(workspace, 'b'));
  execFileSync('mkfifo', [join(workspace, 'b')]);
  // As if the directory had not changed.
  utimesSync(workspace, before.atime, before.mtime);
  const two = await take(directory, blobs.put, one);
  const back = newPlace();
  await rebuild({ directory: back, owner: undefined, root: two.taken.root, get: blobs.get, breathe });
  assert.deepEqual(Object.keys(describeTree(back)), ['home', 'workspace', 'workspace/a', 'workspace/c']);
});

test('one change among many files stores its segment, its bytes and the root', async () => {
  const directory = newPlace();
  const blobs = memoryBlobs();
  const workspace = join(directory, 'workspace');
  for (let i = 0; i < 3000; i++) writeFileSync(join(workspace, `f${i}`), `content ${i}`);
  const one = await take(directory, blobs.put);
  const stored = blobs.held.size;
  writeFileSync(join(workspace, 'f1500'), 'other');
  rmSync(join(workspace, 'f99'));
  writeFileSync(join(workspace, 'f98-new'), 'new');
  const two = await take(directory, blobs.put, one);
  // A pack and a segment around f1500, the same around f98 and f99 (two, where one ends between them), and the root.
  assert.ok(blobs.held.size - stored <= 7, `${blobs.held.size - stored} new blobs`);
  const back = newPlace();
  await rebuild({ directory: back, owner: undefined, root: two.taken.root, get: blobs.get, breathe });
  const names = Object.keys(describeTree(back));
  assert.ok(names.includes('workspace/f98-new') && !names.includes('workspace/f99'));
  assert.equal(names.length, 3002);
});
