/** `atoll acp` with a `program` agent: an editor and a durable, sandboxed session, in one process without a port. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { versatile } from '../agents.ts';
import { processesWith, until } from '../atoll.ts';
import { type Editor, startEditor } from '../editor.ts';
import { listenersOf, treeOf } from '../sockets.ts';

const parent = await mkdtemp(join(tmpdir(), 'atoll-acp-'));
const folder = join(parent, 'versatile');
let editor: Editor;

before(async () => {
  await mkdir(folder);
  await writeFile(join(folder, 'agent.mjs'), versatile);
  const executor = { kind: 'program', command: ['node', 'agent.mjs'] };
  await writeFile(join(folder, 'atoll.json'), JSON.stringify({ executor }));
  editor = await startEditor({ args: ['--agent', folder] });
});
after(async () => {
  await editor?.[Symbol.asyncDispose]();
  await rm(parent, { recursive: true });
});

test('says what it is', () => {
  const { protocolVersion, agentInfo, agentCapabilities } = editor.hello;
  assert.equal(protocolVersion, 1);
  assert.equal(agentInfo?.name, 'atoll');
  assert.equal(agentCapabilities?.loadSession, true);
});

test('a prompt is a turn of a session, and its messages are told', async () => {
  const sessionId = await editor.open();
  assert.match(sessionId, /^ses_/);
  const { stopReason } = await editor.prompt(sessionId, 'hello there');
  assert.equal(stopReason, 'end_turn');
  assert.equal(editor.said(sessionId), 'hello there\n');
});

const saidChunk = (text: string) => ({
  sessionUpdate: 'user_message_chunk',
  content: { type: 'text', text },
});

test('a session is listed under the folder that was open, with a title, and loaded as it was', async () => {
  const sessionId = await editor.open();
  await editor.prompt(sessionId, 'the first thing');
  await editor.prompt(sessionId, 'another');
  const seen = editor.updates(sessionId);
  const titles = seen.flatMap((update) =>
    update.sessionUpdate === 'session_info_update' ? [update.title] : [],
  );
  assert.deepEqual(titles, ['the first thing']);
  const { sessions } = await editor.agent.request('session/list', { cwd: '/home/me/project' });
  const listed = sessions.find((session) => session.sessionId === sessionId);
  assert.deepEqual([listed?.cwd, listed?.title], ['/home/me/project', 'the first thing']);
  const elsewhere = await editor.agent.request('session/list', { cwd: '/elsewhere' });
  assert.deepEqual(elsewhere.sessions, []);

  const from = seen.length;
  await editor.agent.request('session/load', { sessionId, cwd: '/home/me/project', mcpServers: [] });
  const answer = (text: string) => ({
    sessionUpdate: 'agent_message_chunk',
    content: { type: 'text', text },
  });
  assert.deepEqual(editor.updates(sessionId).slice(from), [
    saidChunk('the first thing'),
    answer('the first thing\n'),
    saidChunk('another'),
    answer('another\n'),
  ]);
});

test('text, links and files go in one message, in their order', async () => {
  const sessionId = await editor.open();
  const { stopReason } = await editor.agent.request('session/prompt', {
    sessionId,
    prompt: [
      { type: 'text', text: 'compare ' },
      { type: 'resource_link', name: 'a.txt', uri: 'file:///home/me/a.txt' },
      { type: 'text', text: ' with it' },
      { type: 'resource', resource: { uri: 'file:///home/me/b.txt', text: 'content of b' } },
    ],
  });
  assert.equal(stopReason, 'end_turn');
  assert.equal(
    editor.said(sessionId),
    'compare [@a.txt](file:///home/me/a.txt) with it\n\n<file uri="file:///home/me/b.txt">\ncontent of b\n</file>\n',
  );
});

test('a prompt that is cancelled says so, and the session goes on', async () => {
  const sessionId = await editor.open();
  const waiting = editor.prompt(sessionId, 'wait');
  // Its message has no text: that it works shows where the platform counts its events.
  await until(async () => {
    const { sessions } = await editor.agent.request('session/list', {});
    return sessions.some((session) => session.sessionId === sessionId && session.title === 'wait');
  });
  await editor.agent.notify('session/cancel', { sessionId });
  assert.deepEqual(await waiting, { stopReason: 'cancelled' });
  assert.deepEqual(await editor.prompt(sessionId, 'on we go'), { stopReason: 'end_turn' });
});

test('a prompt that is cancelled at once is cancelled', async () => {
  const sessionId = await editor.open();
  const waiting = editor.prompt(sessionId, 'wait');
  await editor.agent.notify('session/cancel', { sessionId });
  assert.deepEqual(await waiting, { stopReason: 'cancelled' });
});

test('what goes wrong is an error that says what', async () => {
  const sessionId = await editor.open();
  await assert.rejects(editor.prompt(sessionId, 'crash'), { code: -32603, message: /executor_crashed/ });
  await assert.rejects(editor.prompt(sessionId, 'fail'), { code: -32603 });
  await assert.rejects(editor.prompt(sessionId, '  '), { code: -32602 });
  await assert.rejects(editor.prompt('ses_0000000000000000000000000a', 'hi'), { code: -32002 });
  assert.deepEqual(await editor.prompt(sessionId, 'still here'), { stopReason: 'end_turn' });
});

test('garbage, batches, deep nesting and a line of 33 MiB are refused alone', async () => {
  const from = editor.lines.length;
  const deep = `{"jsonrpc":"2.0","id":77,"method":"session/list","params":${'{"_meta":'.repeat(20_000)}1${'}'.repeat(20_000)}}`;
  for (const line of ['no json', '[]', '{"a":1}', '\xff', '7', deep, 'x'.repeat(33 * 1024 * 1024)])
    await new Promise((written) => editor.child.stdin.write(Buffer.from(`${line}\n`, 'latin1'), written));
  const { sessions } = await editor.agent.request('session/list', {});
  assert.ok(Array.isArray(sessions));
  const codes = editor.lines
    .slice(from)
    .map((line) => JSON.parse(line) as { id: unknown; error?: { code: number } })
    .filter(({ id }) => id === null)
    .map(({ error }) => error?.code);
  assert.deepEqual(codes.toSorted(), [-32600, -32600, -32600, -32600, -32700, -32700].toSorted());
});

test('opens no port, and its stdout is protocol alone', async () => {
  const sessionId = await editor.open();
  await editor.prompt(sessionId, 'hello');
  const pids = await treeOf(editor.child.pid ?? 0);
  assert.ok(pids.length > 1);
  assert.deepEqual(await listenersOf(pids), []);
  assert.ok(editor.lines.every((line) => JSON.parse(line).jsonrpc === '2.0'));
});

test('when its stdin ends it ends, in the middle of a turn, and the next one goes on with the session', async () => {
  const dataDir = join(parent, 'data');
  const first = await startEditor({ dataDir, args: ['--agent', folder] });
  const sessionId = await first.open();
  await first.prompt(sessionId, 'remember the harbour');
  first.prompt(sessionId, 'wait').catch(() => undefined);
  const since = performance.now();
  assert.equal(await first.stop(), 0, first.stderr);
  assert.ok(performance.now() - since < 2000, `${performance.now() - since} ms`);
  assert.deepEqual(await processesWith(dataDir), []);
  assert.equal(first.stderr, '');

  await using next = await startEditor({ dataDir });
  await next.agent.request('session/resume', { sessionId, cwd: '/home/me/project' });
  assert.deepEqual(next.updates(sessionId), []);
  await next.prompt(sessionId, 'recall');
  assert.equal(next.said(sessionId), 'the harbour\n');
});

test('an agent that is not named is the only one there is', async () => {
  await using none = await startEditor();
  await assert.rejects(none.open(), { code: -32002, message: /--agent: none is deployed/ });
});
