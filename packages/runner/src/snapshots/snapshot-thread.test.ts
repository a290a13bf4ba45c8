import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSnapshotThread } from './snapshot-thread.ts';

test('what is asked of it after it was closed starts no thread, which nobody would end', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'atoll-thread-'));
  const blobs = { put: async () => assert.fail('stored'), get: async () => assert.fail('fetched') };
  const thread = createSnapshotThread({ directory, blobs });
  await thread.close();
  const of = { tenant: 't', signal: new AbortController().signal, workspaceId: 'ses_1', directory };
  const scan = { ...of, base: null, maxBytes: 1_000_000, onlyIfSame: true };
  await assert.rejects(thread.scan(scan), { code: 'shutting_down' });
  await rm(directory, { recursive: true });
});
