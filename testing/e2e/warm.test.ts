/** Sandboxes made ahead of their sessions: claimed, refilled, given up, replaced, and gone with their server. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { versatile } from '../agents.ts';
import { type Atoll, deploy, deployProgram, startAtoll, until } from '../atoll.ts';
import { startMessagesApi } from '../stand-ins/messages-api.ts';
import { tracesOf } from '../traces.ts';

const ENCLOSED = ['--driver', 'bubblewrap'];
const pool = async (atoll: Atoll) => (await atoll.client.call('health.show', {})).pool;
const warmed = (atoll: Atoll, count: number) => until(async () => (await pool(atoll)).warm === count, 30_000);

async function open(atoll: Atoll, agent: string, more = {}): Promise<string> {
  return (await atoll.client.call('session.create', { agent, ...more })).session.id;
}

async function run(atoll: Atoll, sessionId: string, command: string): Promise<string> {
  const end = await atoll.client.call('session.exec', { sessionId, command });
  return end.stdout + end.stderr;
}

async function doneOf(atoll: Atoll, id: string, content: string) {
  const events = await Array.fromAsync(atoll.client.send(id, { content }));
  return { events, done: JSON.parse(events.at(-1)?.text ?? '{}') };
}

/** The bridge of a warm sandbox, by the workspace that it sees. */
async function bridgeOf(sessionId: string): Promise<number> {
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const mounts = await readFile(`/proc/${pid}/mountinfo`, 'latin1').catch(() => '');
    const command = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '');
    if (mounts.includes(sessionId) && /^node\0.*bridge/.test(command)) return Number(pid);
  }
  throw new Error(`no bridge of ${sessionId} runs`);
}

/** Of a process that has this variable. */
async function environmentWith(variable: string): Promise<string> {
  for (const pid of await readdir('/proc')) {
    const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
    if (environment.includes(`${variable}\0`)) return environment;
  }
  throw new Error(`no process has ${variable}`);
}

/** Of the sandboxes on a runner: their sessions, whether there are any or only will be. */
const workspaces = (atoll: Atoll) => readdir(join(atoll.dataDir, 'runner', 'workspaces'));

test('a warm sandbox is claimed with what its session has of its own, and another takes its place', {
  timeout: 60_000,
}, async () => {
  await using atoll = await startAtoll({ args: ['--capacity', '4', ...ENCLOSED] });
  await deployProgram(atoll.client, 'a', versatile, {
    prewarm: 2,
    env: { OF_AGENT: 'agent', BOTH: 'agent' },
  });
  await warmed(atoll, 2);
  assert.deepEqual(await pool(atoll), { capacity: 4, reserved: 2, running: 0, idle: 0, warm: 2 });
  const waiting = await workspaces(atoll);
  const id = await open(atoll, 'a', {
    env: { OWN: 'own', BOTH: 'session', ATOLL_API_URL: 'http://elsewhere', NODE_ENV: 'test' },
  });
  assert.ok(waiting.includes(id), 'its sandbox had been made before');
  const said = await run(
    atoll,
    id,
    'echo $OF_AGENT $OWN $BOTH $ATOLL_SESSION_ID $NODE_ENV; curl -s $ATOLL_API_URL/sessions/$ATOLL_SESSION_ID',
  );
  const [first, ...rest] = said.split('\n');
  assert.equal(first, `agent own session ${id} test`);
  assert.equal(JSON.parse(rest.join('\n')).session.id, id, 'its gateway speaks for it');
  assert.equal((await doneOf(atoll, id, 'hello')).done.status, 'completed');
  await warmed(atoll, 2);
  assert.equal((await pool(atoll)).reserved, 3);
  const { session } = await atoll.client.call('session.show', { sessionId: id });
  await deployProgram(atoll.client, 'cold', versatile);
  const cold = await open(atoll, 'cold');
  const other = (await atoll.client.call('session.show', { sessionId: cold })).session;
  assert.deepEqual(Object.keys(session).sort(), Object.keys(other).sort());
});

test('sessions are listed by their beginning, whenever their sandboxes were made', {
  timeout: 60_000,
}, async () => {
  await using atoll = await startAtoll({ args: ['--capacity', '6', ...ENCLOSED] });
  await deployProgram(atoll.client, 'warm', versatile, { prewarm: 1 });
  await deployProgram(atoll.client, 'cold', versatile);
  await warmed(atoll, 1);
  const ids = [await open(atoll, 'cold'), await open(atoll, 'cold'), await open(atoll, 'warm')];
  assert.ok((ids[2] ?? '') < (ids[0] ?? ''), 'its id is the older one');
  const seen: string[] = [];
  let cursor: string | null = null;
  do {
    const page: { sessions: { id: string }[]; nextCursor: string | null } = await atoll.client.call(
      'session.list',
      {
        limit: 1,
        ...(cursor === null ? {} : { cursor }),
      },
    );
    seen.push(...page.sessions.map((session) => session.id));
    cursor = page.nextCursor;
  } while (cursor !== null);
  assert.deepEqual(seen, ids.reverse());
});

test('nothing leads out of a warm sandbox, and what is in it waits', { timeout: 60_000 }, async () => {
  await using atoll = await startAtoll({ args: ['--capacity', '2', '--driver', 'process'] });
  await deploy(atoll.client, 'a', { 'CLAUDE.md': '', 'atoll.json': JSON.stringify({ prewarm: 1 }) });
  await warmed(atoll, 1);
  const [waiting = ''] = await workspaces(atoll);
  const environment = await environmentWith(`ATOLL_SESSION_ID=${waiting}`);
  const variable = (name: string) => new RegExp(`\0${name}=([^\0]*)`).exec(`\0${environment}`)?.[1] ?? '';
  for (const url of [
    `${variable('ATOLL_API_URL')}/sessions/${waiting}`,
    `${variable('ANTHROPIC_BASE_URL')}/v1/models`,
  ]) {
    const answer = await fetch(url);
    assert.equal(answer.status, 503);
    assert.equal(((await answer.json()) as { code: string }).code, 'no_session');
  }
  assert.equal(await open(atoll, 'a'), waiting);
  assert.equal((await fetch(`${variable('ATOLL_API_URL')}/sessions/${waiting}`)).status, 200);
});

test('whoever needs a place gets that of a warm sandbox', { timeout: 60_000 }, async () => {
  await using atoll = await startAtoll({ args: ['--capacity', '3', ...ENCLOSED] });
  await deployProgram(atoll.client, 'greedy', versatile, { prewarm: 10 });
  await deployProgram(atoll.client, 'plain', versatile);
  await warmed(atoll, 3);
  const ids = [await open(atoll, 'plain'), await open(atoll, 'plain'), await open(atoll, 'plain')];
  assert.deepEqual(await pool(atoll), { capacity: 3, reserved: 3, running: 0, idle: 3, warm: 0 });
  for (const id of ids) assert.equal((await doneOf(atoll, id, 'hello')).done.status, 'completed');
  await atoll.client.call('session.end', { sessionId: ids[0] ?? '' });
  await warmed(atoll, 1);
});

test('another version, and the end of an agent, end what waits for it', { timeout: 60_000 }, async () => {
  await using atoll = await startAtoll({ args: ['--capacity', '6', ...ENCLOSED] });
  await deployProgram(atoll.client, 'a', versatile, { prewarm: 2, env: { VERSION: 'one' } });
  await warmed(atoll, 2);
  const old = await workspaces(atoll);
  await deployProgram(atoll.client, 'a', versatile, { prewarm: 1, env: { VERSION: 'two' } });
  await until(async () => !(await workspaces(atoll)).some((id) => old.includes(id)));
  await warmed(atoll, 1);
  const id = await open(atoll, 'a');
  assert.equal(await run(atoll, id, 'echo $VERSION'), 'two\n');
  assert.equal(await run(atoll, await open(atoll, 'a', { version: 1 }), 'echo $VERSION'), 'one\n');
  for (const { id: sessionId } of (await atoll.client.call('session.list', {})).sessions)
    await atoll.client.call('session.end', { sessionId });
  await warmed(atoll, 1);
  await atoll.client.call('agent.delete', { name: 'a' });
  await until(async () => (await pool(atoll)).reserved === 0);
  assert.deepEqual(await workspaces(atoll), []);
});

test('a warm sandbox that is killed is not given to anybody', { timeout: 60_000 }, async () => {
  await using atoll = await startAtoll({ args: ['--capacity', '4', ...ENCLOSED] });
  await deployProgram(atoll.client, 'a', versatile, { prewarm: 1 });
  for (const waitsForTheEnd of [false, true]) {
    await warmed(atoll, 1);
    const ended = (await atoll.client.call('session.list', {})).sessions.map((session) => session.id);
    const [waiting = ''] = (await workspaces(atoll)).filter((id) => !ended.includes(id));
    process.kill(await bridgeOf(waiting), 'SIGKILL');
    if (waitsForTheEnd) await until(async () => !(await workspaces(atoll)).includes(waiting));
    const id = await open(atoll, 'a');
    assert.equal((await doneOf(atoll, id, 'hello')).done.status, 'completed');
    await atoll.client.call('session.end', { sessionId: id });
  }
  await warmed(atoll, 1);
  await until(async () => (await pool(atoll)).reserved === 1);
});

test('a server that stops, or is killed, leaves none behind', { timeout: 90_000 }, async () => {
  await using atoll = await startAtoll({ args: ['--capacity', '4', ...ENCLOSED] });
  await deployProgram(atoll.client, 'a', versatile, { prewarm: 2 });
  await warmed(atoll, 2);
  const before = await workspaces(atoll);
  await atoll.kill();
  await until(async () => tracesOf(basename(atoll.dataDir)).length === 0);
  await atoll.restart();
  await warmed(atoll, 2);
  assert.ok(!(await workspaces(atoll)).some((id) => before.includes(id)), 'what the crash left is gone');
  assert.equal((await pool(atoll)).reserved, 2);
  await atoll.stop();
  assert.deepEqual(await workspaces(atoll), []);
  assert.deepEqual(tracesOf(basename(atoll.dataDir)), []);
});

test('Claude that waits is claimed with a model of the session, and with a system prompt', {
  timeout: 120_000,
}, async () => {
  const key = 'sk-ant-test-THE-WARM-MARK-0123456789';
  const api = await startMessagesApi({ apiKey: key });
  await using atoll = await startAtoll({
    args: ['--capacity', '4', ...ENCLOSED],
    env: { ANTHROPIC_API_KEY: key, ANTHROPIC_BASE_URL: api.url },
  });
  await deploy(atoll.client, 'c', {
    'CLAUDE.md': 'THE-FOLDER-SPEAKS',
    'atoll.json': JSON.stringify({ prewarm: 1 }),
  });
  for (const own of [{ model: 'claude-haiku-4-5' }, { systemPrompt: 'THE-SESSION-SPEAKS' }, {}]) {
    await warmed(atoll, 1);
    assert.equal(api.requests.length, 0, 'a Claude that waits asks nobody');
    const waiting = await workspaces(atoll);
    const id = await open(atoll, 'c', own);
    assert.ok(waiting.includes(id));
    const { done } = await doneOf(atoll, id, 'hello');
    assert.equal(done.status, 'completed', JSON.stringify(done));
    const asked = api.requests.filter(({ path, method }) => method === 'POST' && path === '/v1/messages');
    const bodies = JSON.stringify(asked.map(({ body }) => body));
    assert.ok(bodies.includes('THE-FOLDER-SPEAKS'));
    assert.equal(bodies.includes('THE-SESSION-SPEAKS'), 'systemPrompt' in own);
    assert.equal(bodies.includes('"model":"claude-haiku-4-5"'), 'model' in own);
    assert.equal((await doneOf(atoll, id, 'hello again')).done.status, 'completed');
    await atoll.client.call('session.end', { sessionId: id });
    (api.requests as unknown[]).length = 0;
  }
  await api.close();
});

test('a stop while the pool is being filled leaves nothing', { timeout: 60_000 }, async () => {
  await using atoll = await startAtoll({ args: ['--capacity', '6', ...ENCLOSED] });
  await deployProgram(atoll.client, 'a', versatile, { prewarm: 5 });
  await until(async () => (await workspaces(atoll)).length >= 2);
  assert.equal(await atoll.stop(), 0);
  assert.deepEqual(await workspaces(atoll), []);
  assert.deepEqual(tracesOf(basename(atoll.dataDir)), []);
});
