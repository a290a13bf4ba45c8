import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import type { SandboxSpec } from '../driver.ts';
import { liveSandbox } from './live-sandbox.ts';

test('its end is told also when what it held cannot be released', async () => {
  const limits = { memoryBytes: 1, diskBytes: 1, processes: 1, openFiles: 1, cpu: 1, wallTimeMs: 0 };
  const mounts = { readOnly: [], sockets: [] };
  const spec: SandboxSpec = { id: 's', directory: '/nowhere', command: ['true'], env: {}, ...mounts, limits };
  const warnings: string[] = [];
  const sandbox = liveSandbox({
    spec,
    pid: 1,
    ended: Promise.resolve({ exitCode: 0, signal: null }),
    channel: new PassThrough(),
    output: new PassThrough(),
    watchdog: { watch: () => () => undefined },
    watched: {
      disk: { directories: [], temporaryBytes: () => 0, pids: async () => [] },
      members: undefined,
      holdsMemory: false,
      holdsProcesses: false,
    },
    warn: (error, what) => void warnings.push(`${what}: ${error}`),
    hold: {
      outOfMemory: () => false,
      kill: () => undefined,
      freeze: async () => undefined,
      thaw: async () => undefined,
      usage: async () => ({ memoryBytes: 0, processes: 0 }),
      release: async () => {
        throw new Error('EBUSY');
      },
      setupFailure: () => undefined,
    },
  });
  assert.equal((await sandbox.exited).cause, 'exited');
  assert.deepEqual(warnings, ['what a sandbox held was not all released: Error: EBUSY']);
});
