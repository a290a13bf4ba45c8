/** What a sandbox sees of the bridge, laid out as symlinks would not be: copied to where the mounts would be. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { it } from 'node:test';
import { describeBridge, SANDBOX_ROOT } from './install.ts';
import { stageBridge } from './stage.ts';

it('exposes the bridge, the protocol and the SDK, and nothing else', () => {
  const { mounts, command, hostCommand, executors } = describeBridge();
  assert.ok(
    mounts.every(({ source, target }) => existsSync(source) && target.startsWith(`${SANDBOX_ROOT}/`)),
  );
  const names = mounts.map(({ target }) => basename(target));
  assert.deepEqual(names.slice(0, 3), ['bridge', 'protocol', 'package.json']);
  assert.ok(
    names.slice(3).every((name) => name.startsWith('claude-agent-sdk')),
    String(names),
  );
  assert.equal(executors.claude.available, true);
  const { codex } = executors;
  assert.ok(!codex.available && codex.mend === 'npm install @openai/codex', JSON.stringify(codex));
  assert.equal(command.at(-1), `${SANDBOX_ROOT}/bridge/main.ts`);
  assert.ok(existsSync(hostCommand.at(-1) ?? ''));
});

it('stages one file that runs by itself, with a filled compile cache', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'atoll-stage-'));
  try {
    const { command, mounts, env } = await stageBridge({ directory });
    assert.deepEqual(mounts[0], { source: directory, target: SANDBOX_ROOT });
    assert.equal(env.NODE_COMPILE_CACHE, `${SANDBOX_ROOT}/cache`);
    assert.equal(command.at(-1), `${SANDBOX_ROOT}/bridge.cjs`);
    const cached = await readdir(join(directory, 'cache'), { recursive: true, withFileTypes: true });
    // The bridge's and the SDK's, beside what wrote it.
    assert.ok(cached.filter((entry) => entry.isFile()).length >= 2);
    // Sandboxes read it as another user, under the uid that the cache's name ends with.
    for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
      if (entry.isFile())
        assert.ok((await stat(join(entry.parentPath, entry.name))).mode & 0o004, entry.name);
    }
    assert.ok((await readdir(join(directory, 'cache'))).some((name) => name.endsWith('-1000')));
    assert.deepEqual((await readdir(directory)).sort(), ['bridge.cjs', 'cache', 'node_modules']);
    // Without fd 3 it says what it misses: all its imports resolved.
    const run = spawnSync(process.execPath, [join(directory, 'bridge.cjs')], { encoding: 'utf8' });
    assert.equal(run.status, 2, run.stderr);
    assert.match(run.stderr, /fd 3 must be a socket/);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
