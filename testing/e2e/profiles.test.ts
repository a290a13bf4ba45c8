/** Executor profiles: named by the operator, offered by the runner, demanded by agents. */
import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Atoll, deploy, startAtoll } from '../atoll.ts';

/** Tells what it was started with, and binds. */
const SCRIBE = `
import { createInterface } from 'node:readline';
for await (const line of createInterface({ input: process.stdin })) {
  const { COLOR, SHAPE, ATOLL_SESSION_ID, ATOLL_API_URL } = process.env;
  const body = JSON.stringify({ session_id: ATOLL_SESSION_ID, executor_session_id: 'scribe-1' });
  const { status } = await fetch(ATOLL_API_URL + '/bind', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  console.log(JSON.stringify({ type: 'told', COLOR, SHAPE, status, args: process.argv.slice(2) }));
  console.log(JSON.stringify({ type: 'result' }));
}`;

let tools: string;
let atoll: Atoll;

before(async () => {
  tools = await mkdtemp(join(tmpdir(), 'atoll-tools-'));
  await chmod(tools, 0o755);
  const scribe = join(tools, 'scribe.mjs');
  await writeFile(scribe, SCRIBE);
  const profiles = {
    scribe: {
      kind: 'program',
      command: ['node', scribe, 'from-profile'],
      mounts: [tools],
      env: { COLOR: 'green', SHAPE: 'round' },
    },
    blind: { kind: 'program', command: ['node', scribe] },
  };
  const env = { ATOLL_EXECUTOR_PROFILES: JSON.stringify(profiles) };
  atoll = await startAtoll({ args: ['--driver', 'bubblewrap'], env });
});
after(async () => {
  await atoll[Symbol.asyncDispose]();
  await rm(tools, { recursive: true, force: true });
});

async function agent(name: string, config: object): Promise<void> {
  await deploy(atoll.client, name, { 'AGENTS.md': 'Tell.', 'atoll.json': JSON.stringify(config) });
}

async function told(sessionId: string): Promise<Record<string, unknown>> {
  const events = await Array.fromAsync(atoll.client.send(sessionId, { content: 'tell' }));
  assert.equal(JSON.parse(events.at(-1)?.text ?? '{}').status, 'completed', events.at(-1)?.text);
  return JSON.parse(events.find(({ event }) => event === 'message')?.text ?? '{}');
}

test('an agent runs by its profile, with its own settings on top, and is bound under its name', async () => {
  await agent('written', { executorProfile: 'scribe', env: { SHAPE: 'square' } });
  const { session } = await atoll.client.call('session.create', { agent: 'written' });
  assert.deepEqual(await told(session.id), {
    type: 'told',
    COLOR: 'green',
    SHAPE: 'square',
    status: 200,
    args: ['from-profile'],
  });
  const { binding } = (await atoll.client.call('session.show', { sessionId: session.id })).session;
  assert.equal(binding.executorProfile, 'scribe');
});

test('a session may demand another profile than its agent', async () => {
  await agent('plain', {});
  const demands = { executorProfile: 'scribe' };
  const { session } = await atoll.client.call('session.create', { agent: 'plain', demands });
  assert.equal((await told(session.id)).COLOR, 'green');
});

test('a deployment may demand another profile than the folder', async () => {
  const files = Object.entries({ 'atoll.json': '{"executorProfile": "none"}' });
  await atoll.client.call('agent.deploy', {
    name: 'over',
    files: files.map(([path, text]) => ({ path, content: Buffer.from(text).toString('base64') })),
    demands: { executorProfile: 'scribe' },
  });
  const { session } = await atoll.client.call('session.create', { agent: 'over' });
  assert.equal((await told(session.id)).COLOR, 'green');
});

test('a profile that nobody offers, or that cannot run there, is no place for a session', async () => {
  for (const executorProfile of ['nobody', 'blind']) {
    await agent('lost', { executorProfile });
    await assert.rejects(atoll.client.call('session.create', { agent: 'lost' }), {
      code: 'no_runner',
      message: new RegExp(`^run_\\w+: does not offer the executor profile ${executorProfile} `),
    });
  }
  assert.match(atoll.stderr, /"profile":"blind".*is outside of what its sandboxes see/);
});

test('an executor of another kind than its profile is refused', async () => {
  await agent('torn', { executor: 'claude', executorProfile: 'scribe' });
  await assert.rejects(atoll.client.call('session.create', { agent: 'torn' }), {
    code: 'executor_failed',
    message: /kind claude, and its executor profile scribe of the kind program/,
  });
});
