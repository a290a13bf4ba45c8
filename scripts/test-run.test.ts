/** The watch over what tests leave is itself able to see: each kind of leftover is named, and nobody else's is. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openTestRun, type TestRun } from './test-run.ts';

const kinds = (run: TestRun) => [...new Set(run.leftovers().map((line) => line.split(' ')[0]))].sort();

test('a file and a socket are seen, and their end', async () => {
  const run = openTestRun();
  assert.deepEqual(run.leftovers(), []);
  writeFileSync(join(run.directory, 'forgotten'), '');
  const server = createServer().listen(join(run.directory, 'socket'));
  await once(server, 'listening');
  assert.deepEqual(kinds(run), ['file', 'socket']);
  server.close();
  await once(server, 'close');
  rmSync(join(run.directory, 'forgotten'));
  assert.deepEqual(run.leftovers(), []);
  run.close();
});

for (const [how, options] of Object.entries({
  'the environment': (run: TestRun) => ({ env: { TMPDIR: run.directory } }),
  'the working directory': (run: TestRun) => ({ env: {}, cwd: run.directory }),
}))
  test(`a process is seen by ${how}`, async () => {
    const [run, other] = [openTestRun(), openTestRun()];
    const child = spawn('/bin/sleep', ['60'], options(run));
    await once(child, 'spawn');
    assert.match(run.leftovers().join('\n'), new RegExp(`^process ${child.pid} /bin/sleep 60$`));
    assert.deepEqual(other.leftovers(), []);
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.deepEqual(run.leftovers(), []);
    for (const one of [run, other]) one.close();
  });

test('a process that names nothing is seen by the control group', async (t) => {
  const run = openTestRun();
  const [program = '', ...rest] = run.command(['sleep', '60']);
  if (!rest.join().includes('cgroup.procs')) return t.skip('no control group may be made here');
  const child = spawn(program, rest, { env: {}, cwd: '/' });
  const named = new RegExp(`^process ${child.pid} sleep 60$`, 'm');
  while (!named.test(run.leftovers().join('\n'))) await delay(5);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.deepEqual(run.leftovers(), []);
  run.close();
});

const root = process.platform === 'linux' && process.getuid?.() === 0;

test('a process is seen by a mount in its own namespace', { skip: !root }, async () => {
  const run = openTestRun();
  mkdirSync(join(run.directory, 'mounted'));
  const line = 'mount -t tmpfs none "$0" && echo up && exec sleep 60';
  const command = ['--mount', 'sh', '-c', line, join(run.directory, 'mounted')];
  const child = spawn('unshare', command, { env: {}, cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  const named = new RegExp(`^process ${child.pid} sleep 60$`, 'm');
  while (!named.test(run.leftovers().join('\n'))) await delay(5);
  child.kill('SIGKILL');
  await once(child, 'exit');
  rmdirSync(join(run.directory, 'mounted'));
  assert.deepEqual(run.leftovers(), []);
  run.close();
});
