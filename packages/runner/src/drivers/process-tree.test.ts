import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { freezeTree, type ProcessTree, thawTree } from './process-tree.ts';
import type { ProcessEntry } from './processes.ts';

test('a process that never stands still is told of in time, and the others go on when thawed', async () => {
  const child = spawn('/bin/cat', { stdio: ['pipe', 'pipe', 'ignore'] });
  await once(child, 'spawn');
  const isChild = ({ pid }: ProcessEntry) => pid === child.pid;
  const restless: ProcessTree = {
    select: (processes) => processes.filter(isChild).map((entry) => ({ ...entry, state: 'R' })),
  };
  await assert.rejects(freezeTree(restless, 50), { code: 'sandbox_failed' });
  await thawTree(restless);
  child.stdin.end('on it goes');
  assert.equal(String((await once(child.stdout, 'data'))[0]), 'on it goes');
  await once(child, 'exit');
});
