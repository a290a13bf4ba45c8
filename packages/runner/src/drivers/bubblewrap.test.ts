import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { createBench, nodeCommand, until } from '../driver.bench.ts';
import { driverContract } from '../driver.contract.ts';
import { createBubblewrapDriver } from './bubblewrap.ts';
import { findProcess, listProcesses } from './processes.ts';

driverContract('bubblewrap', (dataDir) => createBubblewrapDriver({ dataDir }));
driverContract('bubblewrap without cgroups', (dataDir) =>
  createBubblewrapDriver({ dataDir, cgroups: false }),
);

test('what only sandboxes need is made with the first of them', async () => {
  const bench = createBench((dataDir) => createBubblewrapDriver({ dataDir }));
  await bench.open();
  const etc = join(bench.dataDir, 'system', 'etc');
  assert.equal(existsSync(etc), false);
  await bench.run('');
  assert.equal(existsSync(etc), true);
  await bench.close();
});

/** Shells among a runner's children that were told nothing yet. */
async function waitingShells(runner: number | undefined): Promise<number[]> {
  const children = (await listProcesses()).filter(({ parent, state }) => parent === runner && state !== 'Z');
  const isShell = (pid: number) => /^\/bin\/(ba)?sh\0$/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
  return children.map(({ pid }) => pid).filter(isShell);
}

test('a shell waits for the next sandbox, becomes it, and ends with the driver', async () => {
  const bench = createBench((dataDir) => createBubblewrapDriver({ dataDir }));
  await bench.open();
  await bench.run('');
  const [shell, ...more] = await waitingShells(process.pid);
  assert.ok(shell !== undefined && more.length === 0);
  const sandbox = await bench.start(nodeCommand(''));
  assert.equal(sandbox.pid, shell);
  sandbox.output.resume();
  await sandbox.exited;
  const [next] = await waitingShells(process.pid);
  assert.ok(next !== undefined);
  // One that somebody killed is not used.
  process.kill(next, 'SIGKILL');
  await until(async () => (await findProcess(next)) === undefined);
  assert.equal((await bench.run('console.log("ran")')).output, 'ran\n');
  await bench.close();
  assert.deepEqual(await waitingShells(process.pid), []);
});

test('sandboxes that are the first at the same time leave nothing that runs on', async () => {
  const bench = createBench((dataDir) => createBubblewrapDriver({ dataDir }));
  await bench.open();
  await Promise.all([bench.run(''), bench.run(''), bench.run('')]);
  await bench.close();
  const left = (await listProcesses()).filter(({ parent, state }) => parent === process.pid && state !== 'Z');
  assert.deepEqual(left, []);
});

test('a shell that waits for the next sandbox ends with a runner that is killed', async () => {
  const bench = createBench((dataDir) => createBubblewrapDriver({ dataDir }));
  await bench.open();
  const script = join(import.meta.dirname, 'doomed-runner.fixture.ts');
  const runner = spawn(process.execPath, [script, 'bubblewrap', bench.dataDir, 'atoll-doomed-shell'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(runner.stdout, 'data');
  const [shell] = await waitingShells(runner.pid);
  assert.ok(shell !== undefined);
  runner.kill('SIGKILL');
  await until(async () => ((await findProcess(shell))?.state ?? 'Z') === 'Z');
  await bench.driver.sweep();
  await bench.close();
});

/** Hands its listener over, calls it as soon as it is told to, and says what it heard. */
const handing = `
const net = require('net');
const server = net.createServer().listen(4180, '127.0.0.1', () => process.send('', server));
process.once('disconnect', () => {
  server.close();
  net.connect(4180, '127.0.0.1').on('data', (heard) => console.log(String(heard))).on('end', () => process.exit(0));
});`;

test('a listener of the sandbox comes out of it, takes calls there, and nothing of the way is left', {
  timeout: 20_000,
}, async () => {
  const bench = createBench((dataDir) => createBubblewrapDriver({ dataDir }));
  await bench.open();
  const sandbox = await bench.start(nodeCommand(handing), { handsListener: true });
  const server = createServer((socket) => socket.end('from outside')).listen(await sandbox.listener);
  assert.equal(await text(sandbox.output), 'from outside\n');
  assert.equal((await sandbox.exited).exitCode, 0);
  server.close();
  // One that is not asked for one has no channel.
  const { output } = await bench.run('console.log(process.channel)');
  assert.equal(output, 'undefined\n');
  await bench.close();
});

test('a sandbox that says something else in place of its listener is told of as such', {
  timeout: 20_000,
}, async () => {
  const bench = createBench((dataDir) => createBubblewrapDriver({ dataDir }));
  await bench.open();
  const sandbox = await bench.start(['sh', '-c', 'exec cat /dev/zero >&7'], { handsListener: true });
  assert.ok(sandbox.listener);
  await assert.rejects(sandbox.listener, { code: 'sandbox_failed' });
  sandbox.output.resume();
  assert.notEqual((await sandbox.exited).exitCode, 0);
  await bench.close();
});
