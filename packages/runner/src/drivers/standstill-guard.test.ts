import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { findProcess } from './processes.ts';

const RUNNER = fileURLToPath(new URL('./standstill-guard.fixture.ts', import.meta.url));

test('whoever stands still goes on when the runner is killed', async () => {
  const sleeper = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' });
  const { pid = 0 } = sleeper;
  try {
    const runner = spawn(process.execPath, [RUNNER, String(pid)], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(runner.stdout, 'data');
    // A signal takes effect when the process is scheduled: until then it sleeps, and right after it went on it runs.
    while ((await findProcess(pid))?.state !== 'T') await delay(5);
    runner.kill('SIGKILL');
    while ((await findProcess(pid))?.state === 'T') await delay(5);
    assert.match((await findProcess(pid))?.state ?? 'gone', /^[RS]$/);
  } finally {
    sleeper.kill('SIGKILL');
  }
});
