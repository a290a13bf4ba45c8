import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { diskUsage, filledBytes, temporaryBytes } from './disk-usage.ts';

test('a sandbox that is still being set up is not charged with the disk of the host', () => {
  // Our own root is the host's, as that of a sandbox is until its mounts are there.
  assert.ok(filledBytes('/tmp') > 0 || filledBytes('/') > 0);
  assert.equal(temporaryBytes(process.pid, ['/tmp', '/dev/shm', '/nowhere']), 0);
  assert.equal(temporaryBytes(2 ** 30, ['/tmp']), 0);
});

test('a tree is measured in blocks', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'atoll-du-'));
  await writeFile(join(directory, 'a'), Buffer.alloc(1024 * 1024, 1));
  const bytes = await diskUsage([directory]);
  assert.ok(bytes >= 1024 * 1024 && bytes < 1.2 * 1024 * 1024, String(bytes));
  await rm(directory, { recursive: true });
});
