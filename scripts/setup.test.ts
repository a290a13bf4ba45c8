import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

const setup = join(import.meta.dirname, 'setup.mjs');
const run = (...words: string[]) => spawnSync('node', [setup, ...words], { encoding: 'utf8' });

test('runs the command with our tools first on the path, and ends as it does', () => {
  const result = run('--', 'node', '-e', 'console.log(process.versions.node); process.exitCode = 7');
  assert.equal(result.status, 7);
  assert.match(result.stdout, /^24\./);
  assert.equal(result.stderr, '', 'nothing to say when nothing is missing');
});

test('a command killed by a signal ends as a shell would tell it', () => {
  assert.equal(run('--', 'node', '-e', 'process.kill(process.pid, "SIGTERM")').status, 143);
});

test('without a command, or with one that is not there', () => {
  assert.equal(run().status, 2);
  const missing = run('--', 'no-such-program');
  assert.equal(missing.status, 127);
  assert.match(missing.stderr, /cannot run no-such-program/);
});
