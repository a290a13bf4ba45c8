import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import { type HandedListener, takeListener } from './handed-listener.ts';

type Sandbox = { child: ChildProcess; handed: HandedListener };

/** What has descriptor 3 for its channel. */
function start(command: string, args: readonly string[]): Sandbox {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const handed = takeListener(child);
  assert.ok(handed, 'this Node keeps the channel elsewhere');
  return { child, handed };
}

const node = (script: string) =>
  start(process.execPath, ['-e', `const net = require('net'); const dgram = require('dgram'); ${script}`]);
const shell = (script: string) => start('/bin/sh', ['-c', script]);

async function end({ child }: Sandbox): Promise<void> {
  child.kill('SIGKILL');
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

const SEND = `const server = net.createServer().listen(0, '127.0.0.1', () => { process.send('', server); });`;
const STAY = 'setInterval(() => {}, 1000);';

test('a listener comes over, and serves on when its maker has ended', { timeout: 20_000 }, async () => {
  const sandbox = node(`${SEND} process.once('disconnect', () => process.exit(7));`);
  const listener = await sandbox.handed.take();
  // The maker is told that the channel is closed.
  assert.deepEqual(await once(sandbox.child, 'exit'), [7, null]);
  const server = createServer((socket) => socket.end('from here')).listen(listener);
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address);
  const chunks = await connect({ port: address.port, host: '127.0.0.1' }).toArray();
  assert.equal(Buffer.concat(chunks).toString(), 'from here');
  server.close();
});

for (const [what, sandbox] of [
  ['text', () => shell('echo garbage >&3; exec sleep 60')],
  ['a message without a handle', () => node(`process.send({}); ${STAY}`)],
  [
    'a UDP socket',
    () => node(`const s = dgram.createSocket('udp4').bind(0, () => process.send('', s)); ${STAY}`),
  ],
  [
    'a Unix listener',
    () =>
      node(
        `const s = net.createServer().listen('\\0atoll-' + process.pid, () => process.send('', s)); ${STAY}`,
      ),
  ],
] as const)
  test(`${what} is refused, and leaves nothing open`, { timeout: 20_000 }, async () => {
    const before = readdirSync('/proc/self/fd').length;
    const made = sandbox();
    await assert.rejects(made.handed.take(), {
      code: 'sandbox_failed',
      detail: 'the sandbox handed over something else in place of a listener',
    });
    assert.equal(made.child.connected, false);
    await end(made);
    assert.ok(readdirSync('/proc/self/fd').length <= before);
  });

test('a line without end is not read on', { timeout: 20_000 }, async () => {
  const sandbox = shell('exec cat /dev/zero >&3');
  const over = once(sandbox.child, 'exit');
  await assert.rejects(sandbox.handed.take(), { code: 'sandbox_failed' });
  // Nobody takes what it writes: it breaks.
  const [code, signal] = await over;
  assert.ok(code !== 0 || signal === 'SIGPIPE');
});

test('of many, one is taken', { timeout: 20_000 }, async () => {
  const before = readdirSync('/proc/self/fd').length;
  const sandbox = node(`for (let n = 0; n < 50; n++) { ${SEND} } ${STAY}`);
  const listener = await sandbox.handed.take();
  assert.equal(sandbox.child.connected, false);
  assert.ok('close' in listener && typeof listener.close === 'function');
  listener.close();
  await end(sandbox);
  assert.ok(readdirSync('/proc/self/fd').length <= before);
});

test('a sandbox that ends, or closes the channel, handed over nothing', { timeout: 20_000 }, async () => {
  const nothing = { detail: 'the sandbox handed over nothing in place of a listener' };
  await assert.rejects(shell('exit 0').handed.take(), nothing);
  const silent = shell('exec 3>&-; exec sleep 60');
  await assert.rejects(silent.handed.take(), nothing);
  await end(silent);
});

test('one that is not asked for is not waited for', { timeout: 20_000 }, async () => {
  const sandbox = node(STAY);
  sandbox.handed.close();
  assert.equal(sandbox.child.connected, false);
  await end(sandbox);
});
