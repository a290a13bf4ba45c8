import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { roomyLimits } from '../driver.bench.ts';
import { fds, openLauncher, startChain } from './bubblewrap-start.ts';

test('a sandbox whose runner reads nothing of it any more comes up, and does not stay half made', {
  timeout: 20_000,
}, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'atoll-test-'));
  const launcher = await openLauncher(directory);
  const how = { limits: roomyLimits, hands: false, joinScript: '', become: undefined };
  const chain = startChain(launcher, { ...how, command: ['sh', '-c', 'echo ran >&3'] });
  // As of a runner that was killed after it had told bwrap everything.
  launcher.statusFile.close();
  const args = [
    '--unshare-user',
    '--unshare-pid',
    '--json-status-fd',
    `${fds.status}`,
    '--ro-bind',
    '/',
    '/',
  ];
  chain.args.end(args.map((each) => `${each}\0`).join(''));
  const exited = once(chain.child, 'exit');
  assert.equal(await text(chain.channel), 'ran\n');
  assert.deepEqual(await exited, [0, null]);
  assert.deepEqual(await readdir(directory), []);
  await rmdir(directory);
});
