/** `atoll acp` with the real Claude Agent SDK in a sandbox, against a stand-in of the model's API. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { RequestPermissionRequest, SessionUpdate } from '@agentclientprotocol/sdk';
import { until } from '../atoll.ts';
import { type Editor, type Permit, startEditor } from '../editor.ts';
import { listenersOf, treeOf } from '../sockets.ts';
import { type MessagesApi, startMessagesApi } from '../stand-ins/messages-api.ts';

const KEY = 'sk-ant-test-THE-MARKED-SECRET-0123456789';
const parent = await mkdtemp(join(tmpdir(), 'atoll-acp-claude-'));
const folder = join(parent, 'careful');
let api: MessagesApi;
let editor: Editor;
let permit: Permit;

const choose =
  (optionId: string): Permit =>
  async () => ({ outcome: { outcome: 'selected', optionId } });

before(async () => {
  api = await startMessagesApi({ apiKey: KEY });
  await mkdir(folder);
  await writeFile(join(folder, 'CLAUDE.md'), 'You may do nothing by yourself.');
  editor = await startEditor({
    args: ['--agent', folder, '--capacity', '2'],
    env: { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url },
    permit: (request, signal) => permit(request, signal),
  });
});
after(async () => {
  await editor?.[Symbol.asyncDispose]();
  await api?.close();
  await rm(parent, { recursive: true });
});

type Called = SessionUpdate & { sessionUpdate: 'tool_call' };
const callsIn = (sessionId: string) =>
  editor.updates(sessionId).filter((update): update is Called => update.sessionUpdate === 'tool_call');
const statusesOf = (sessionId: string, id: string) =>
  editor
    .updates(sessionId)
    .flatMap((update) => ('toolCallId' in update && update.toolCallId === id ? [update.status] : []));

test('it asks the editor before it writes, at the call that the editor knows', async () => {
  const sessionId = await editor.open();
  permit = choose('allow');
  assert.deepEqual(await editor.prompt(sessionId, 'write hello.txt: Hello from inside'), {
    stopReason: 'end_turn',
  });
  const [call] = callsIn(sessionId);
  const asked = editor.permissions.at(-1) as RequestPermissionRequest;
  assert.equal(asked.sessionId, sessionId);
  assert.equal(asked.toolCall.toolCallId, call?.toolCallId);
  assert.deepEqual(
    asked.options.map(({ kind }) => kind),
    ['allow_once', 'reject_once'],
  );
  assert.deepEqual(
    [call?.kind, call?.name, call?.locations],
    ['edit', 'Write', [{ path: '/workspace/hello.txt' }]],
  );
  assert.deepEqual(call?.content, [
    { type: 'diff', path: '/workspace/hello.txt', oldText: null, newText: 'Hello from inside' },
  ]);
  assert.deepEqual(statusesOf(sessionId, call?.toolCallId ?? ''), ['in_progress', 'completed']);
  assert.match(
    editor.said(sessionId),
    /^I wrote \S*hello\.txt\.$/,
    'text that came in pieces is not said twice',
  );

  permit = choose('deny');
  await editor.prompt(sessionId, 'write denied.txt: no');
  const denied = callsIn(sessionId).at(-1)?.toolCallId ?? '';
  assert.deepEqual(statusesOf(sessionId, denied), ['in_progress', 'failed']);

  const live = editor
    .updates(sessionId)
    .filter(({ sessionUpdate }) => sessionUpdate !== 'session_info_update');
  const from = editor.updates(sessionId).length;
  await editor.agent.request('session/load', { sessionId, cwd: '/', mcpServers: [] });
  const replayed = editor.updates(sessionId).slice(from);
  assert.deepEqual(
    replayed.filter(({ sessionUpdate }) => sessionUpdate !== 'user_message_chunk'),
    live,
    'loaded, it is told as it was told live',
  );
});

test('what runs in a sandbox listens on no port', async () => {
  const sessionId = await editor.open();
  let pids: number[] = [];
  let listeners: string[] | undefined;
  permit = async () => {
    pids = await treeOf(editor.child.pid ?? 0);
    listeners = await listenersOf(pids);
    return { outcome: { outcome: 'selected', optionId: 'allow' } };
  };
  await editor.prompt(sessionId, 'write a.txt: a');
  assert.ok(pids.length > 4, 'the sandbox, its bridge and the SDK’s own process are in the tree');
  assert.deepEqual(listeners, []);
});

test('cancelled while it asks, the question is taken back', async () => {
  const sessionId = await editor.open();
  let takenBack = false;
  permit = (_request, signal) =>
    new Promise((resolve) => {
      signal.addEventListener('abort', () => {
        takenBack = true;
        resolve({ outcome: { outcome: 'cancelled' } });
      });
    });
  const before = editor.permissions.length;
  const writing = editor.prompt(sessionId, 'write late.txt: no');
  await until(async () => editor.permissions.length > before);
  await editor.agent.notify('session/cancel', { sessionId });
  assert.deepEqual(await writing, { stopReason: 'cancelled' });
  assert.ok(takenBack);
  assert.match(JSON.stringify(await editor.prompt(sessionId, 'hello')), /end_turn/);
});

test('cancelled while it speaks, it stops', async () => {
  const sessionId = await editor.open();
  const counting = editor.prompt(sessionId, 'count slowly to 500');
  await until(async () => editor.said(sessionId).includes(' 3'));
  await editor.agent.notify('session/cancel', { sessionId });
  assert.deepEqual(await counting, { stopReason: 'cancelled' });
});

const options = ['north', 'south'].map((label) => ({ label, description: label }));
const questions = [{ question: 'Which way?', header: 'Way', options, multiSelect: false }];
const question = `call AskUserQuestion ${JSON.stringify({ questions })}`;

test('a question is a choice', async () => {
  const sessionId = await editor.open();
  permit = async ({ options: offered }) => {
    const south = offered.find(({ name }) => name === 'south');
    return { outcome: { outcome: 'selected', optionId: south?.optionId ?? '' } };
  };
  await editor.prompt(sessionId, question);
  assert.match(editor.said(sessionId), /south/);
});

test('a question is a form, where the editor has forms', async () => {
  const asked: unknown[] = [];
  await using other = await startEditor({
    args: ['--agent', folder],
    env: { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url },
    capabilities: { elicitation: { form: {} } },
    async elicit(request) {
      asked.push(request);
      return { action: 'accept', content: { 'Which way?': 'north' } };
    },
  });
  const sessionId = await other.open();
  await other.prompt(sessionId, question);
  assert.match(other.said(sessionId), /north/);
  assert.match(JSON.stringify(asked), /"Which way\?":\{"title":"Way".*"enum":\["north","south"\]/);
});
