import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { AtollError } from '@atoll/protocol/errors';
import type {
  AgentSource,
  CommandEnd,
  CommandEvent,
  CreateSandbox,
  SnapshotBlobs,
} from '@atoll/protocol/runner-link';
import { createProcessDriver } from './drivers/process.ts';
import { readProfiles } from './executor-profiles.ts';
import { createRunner, type Runner } from './runner.ts';

/** The real bridge, as a path: nothing of it is loaded here. */
const BRIDGE = fileURLToPath(new URL('../../bridge/src/main.ts', import.meta.url));
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const noSnapshots: SnapshotBlobs = {
  put: async () => assert.fail('no snapshot was taken'),
  get: async () => assert.fail('no snapshot was restored'),
};
const noAgents: AgentSource = {
  manifest: async () => assert.fail('no agent was asked for'),
  file: async () => assert.fail('no file was asked for'),
};

type Bench = AsyncDisposable & {
  runner: Runner;
  dataDir: string;
  create(name: string, sandbox?: Partial<CreateSandbox['sandbox']>): Promise<void>;
  remove(name: string, keep?: boolean): Promise<void>;
  exec(name: string, command: string, commandId: string): AsyncIterable<CommandEvent>;
};

async function openBench({ agents = noAgents, capacity = 4 } = {}): Promise<Bench> {
  const dataDir = mkdtempSync(join(tmpdir(), 'atoll-runner-'));
  const command = [process.execPath, BRIDGE];
  const runner = await createRunner({
    dataDir,
    runnerId: 'rnr_test',
    driver: createProcessDriver({ dataDir }),
    capacity,
    bridge: async () => ({ command, hostCommand: command, mounts: [], env: {} }),
    coordinator: {
      agents,
      snapshots: noSnapshots,
      url: 'http://127.0.0.1:1',
      sessionToken: async () => assert.fail('no token was asked for'),
      credentials: async () => [],
      recordAccess: async () => assert.fail('no traffic was seen'),
      modelUse: async () => assert.fail('nothing was spent'),
    },
    hostname: 'here',
    upstreams: {},
    profiles: readProfiles({}),
    log: silent,
  });
  const { link } = runner;
  return {
    runner,
    dataDir,
    create: (name, sandbox) =>
      link.createSandbox({
        jobId: `job_${name}`,
        epoch: 1,
        sandbox: {
          id: `sbx_${name}`,
          tenant: 't',
          workspaceId: `ws_${name}`,
          fresh: true,
          executor: { profile: 'program', command: ['cat'] },
          env: {},
          ...sandbox,
        },
      }),
    remove: (name, keep = false) =>
      link.deleteSandbox({
        sandboxId: `sbx_${name}`,
        workspaceId: `ws_${name}`,
        epoch: 1,
        cause: 'ended',
        keep,
      }),
    exec: (name, command, commandId) =>
      link.command({
        sandboxId: `sbx_${name}`,
        epoch: 1,
        commandId,
        command: { method: 'exec', params: { command } },
      }),
    async [Symbol.asyncDispose]() {
      await runner.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

async function endOf(events: AsyncIterable<CommandEvent>): Promise<CommandEnd> {
  for await (const event of events) if (event.kind === 'end') return event;
  assert.fail('a command ended without its end');
}

/** An agent's folder whose manifest waits until it is let go. */
function slowAgents() {
  const asked = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const manifest = async () => {
    asked.resolve();
    await go.promise;
    return { files: [] };
  };
  return { agents: { ...noAgents, manifest }, asked: asked.promise, go: () => go.resolve() };
}

test('a sandbox that is to end while it is made does not come up first', async () => {
  await using bench = await openBench();
  const made = bench.create('a');
  const refused = assert.rejects(made, { code: 'executor_failed' });
  await bench.remove('a');
  await refused;
  await bench.create('b');
});

test('files that are nowhere any more, and in no snapshot, begin anew with the agent’s folder', async () => {
  const bytes = Buffer.from('what it is about');
  const hash = createHash('sha256').update(bytes).digest('hex');
  const agents: AgentSource = {
    manifest: async () => ({
      files: [{ path: 'CLAUDE.md', hash, sizeBytes: bytes.length, executable: false }],
    }),
    file: async () => bytes,
  };
  await using bench = await openBench({ agents });
  await bench.create('a', { fresh: false, agentHash: 'a'.repeat(64), executorSessionId: 'gone-with-them' });
  const { content } = await bench.runner.link.files.read({ workspaceId: 'ws_a', path: 'CLAUDE.md' });
  assert.equal(Buffer.concat(await Array.fromAsync(content)).toString(), 'what it is about');
});

test('a command without a folder of its own begins in the workspace', { timeout: 20_000 }, async () => {
  await using bench = await openBench();
  await bench.create('a');
  const [first, ...rest] = await Array.fromAsync(bench.exec('a', 'pwd -P', 'cmd_1'));
  const workspace = realpathSync(join(bench.dataDir, 'workspaces', 'ws_a', 'workspace'));
  assert.deepEqual(first, { kind: 'output', stream: 'stdout', text: `${workspace}\n`, line: 1 });
  assert.equal(rest.at(-1)?.kind, 'end');
});

test('what runs in a sandbox gets the variables of its request, with paths of its own; the bridge does not', {
  timeout: 20_000,
}, async () => {
  await using bench = await openBench();
  await bench.create('a', { env: { NODE_OPTIONS: '--import /workspace/none.mjs', MINE: 'mine' } });
  const command = 'echo "$MINE $NODE_OPTIONS"; tr "\\0" "\\n" < /proc/$PPID/environ';
  const events = await Array.fromAsync(bench.exec('a', command, 'cmd_1'));
  const said = events.map((event) => (event.kind === 'output' ? event.text : '')).join('');
  assert.equal(said.split('\n')[0], 'mine --import /workspace/none.mjs');
  assert.match(said, /^HOME=/m);
  assert.doesNotMatch(said, /^(MINE|NODE_OPTIONS|ATOLL_API_URL|ANTHROPIC_API_KEY)=/m);
  await bench.create('b', { env: { AT: '/workspace/x' } });
  const [first] = await Array.fromAsync(bench.exec('b', 'echo $AT', 'cmd_2'));
  const at = join(bench.dataDir, 'workspaces', 'ws_b', 'workspace', 'x');
  assert.deepEqual(first, { kind: 'output', stream: 'stdout', text: `${at}\n`, line: 1 });
});

test('a cancelled exec ends in the sandbox', { timeout: 20_000 }, async () => {
  await using bench = await openBench();
  await bench.create('a');
  const events = bench.exec('a', 'echo begun; exec sleep 60', 'cmd_1');
  for await (const event of events) {
    assert.deepEqual(event, { kind: 'output', stream: 'stdout', text: 'begun\n', line: 1 });
    break;
  }
  const again = bench.exec('a', 'exec sleep 61', 'cmd_2');
  await delay(50);
  await bench.runner.link.cancel({ sandboxId: 'sbx_a', epoch: 1, commandId: 'cmd_2' });
  const end = await endOf(again);
  assert.deepEqual([end.cause, end.detail], ['signal', 'ended by SIGTERM']);
});

test('what comes up while all stand still stands still, too', { timeout: 20_000 }, async () => {
  await using bench = await openBench();
  await bench.runner.freeze();
  const made = bench.create('a').then(() => 'made');
  assert.equal(await Promise.race([made, delay(1_000)]), undefined);
  await bench.runner.thaw();
  assert.equal(await made, 'made');
});

test('a place is had as soon as the sandbox that leaves it is gone', async () => {
  await using bench = await openBench({ capacity: 1 });
  await bench.create('a');
  await assert.rejects(bench.create('b'), { code: 'no_capacity' });
  const [, removed] = await Promise.all([bench.remove('a'), bench.create('b')]);
  assert.equal(removed, undefined);
  await assert.rejects(bench.create('c'), { code: 'no_capacity' });
});

test('stop ends what is coming up, and nothing comes up after it', { timeout: 20_000 }, async () => {
  const { agents, asked, go } = slowAgents();
  await using bench = await openBench({ agents });
  const coming = assert.rejects(bench.create('a', { agentHash: 'x' }), { code: 'shutting_down' });
  const half = bench.create('b').catch((error: unknown) => error);
  await asked;
  const stopped = bench.runner.stop();
  go();
  await Promise.all([coming, half, stopped]);
  await assert.rejects(bench.create('c'), { code: 'shutting_down' });
  assert.equal(existsSync(join(bench.dataDir, 'workspaces', 'ws_a')), false);
});

test('a workspace is not removed under the job that fills it', async () => {
  const { agents, asked, go } = slowAgents();
  await using bench = await openBench({ agents });
  // Its sandbox may be there already, and then it is ended on its way up.
  const coming = bench.create('a', { agentHash: 'x' }).catch(() => undefined);
  await asked;
  const removed = bench.remove('a');
  await delay(20);
  assert.equal(existsSync(join(bench.dataDir, 'workspaces', 'ws_a', 'workspace')), true);
  go();
  await Promise.all([coming, removed]);
  assert.equal(existsSync(join(bench.dataDir, 'workspaces', 'ws_a')), false);
});

test('a folder that cannot be had fails the sandbox, and leaves neither files nor a place taken', async () => {
  const manifest = async () => {
    await delay(20);
    throw new AtollError('not_found', 'no such folder');
  };
  await using bench = await openBench({ agents: { ...noAgents, manifest }, capacity: 1 });
  await assert.rejects(bench.create('a', { agentHash: 'x' }), { code: 'not_found' });
  assert.equal(existsSync(join(bench.dataDir, 'workspaces', 'ws_a')), false);
  await bench.create('b');
});

test('an upload takes what is left of the workspace’s disk, and no more', async () => {
  await using bench = await openBench();
  await bench.create('a', { limits: { diskMb: 2 } });
  const { files } = bench.runner.link;
  const write = (path: string, bytes: number) =>
    files.write({
      workspaceId: 'ws_a',
      path,
      content: (async function* () {
        yield Buffer.alloc(bytes);
      })(),
    });
  const MiB = 1024 * 1024;
  assert.equal((await write('one', MiB)).sizeBytes, MiB);
  writeFileSync(join(bench.dataDir, 'workspaces', 'ws_a', 'home', 'own'), Buffer.alloc(MiB / 2));
  await assert.rejects(write('two', MiB), { code: 'body_too_large', message: /has room for \d+ bytes/ });
  assert.equal((await write('three', MiB / 4)).created, true);
});
