/** `atoll acp --server`: an editor whose sessions are on a server elsewhere, whatever happens to the way there. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { type Atoll, deploy, deployProgram, startAtoll, until } from '../atoll.ts';
import { type EditorOptions, type Permit, startEditor } from '../editor.ts';
import { random } from '../random.ts';
import { type Relay, startRelay } from '../relay.ts';

/** `count N`: that many messages; `wait`: one, and then nothing. */
const counter = `
import { createInterface } from 'node:readline';
const write = (text) => new Promise((resolve) => process.stdout.write(text, resolve));
const say = (text) => JSON.stringify({ type: 'said', text }) + '\\n';
for await (const line of createInterface({ input: process.stdin })) {
  const [word, count] = JSON.parse(line).content.split(' ');
  if (word === 'wait') { await write(say('waiting')); continue; }
  for (let i = 0; i < Number(count); i += 100)
    await write(Array.from({ length: 100 }, (_, n) => say('number ' + (i + n))).join(''));
  await write('{"type":"result"}\\n');
}`;

let atoll: Atoll;
let next: () => number;
let relay: Relay;

before(async () => {
  atoll = await startAtoll();
  await deployProgram(atoll.client, 'counter', counter);
  const trip = await readFile(new URL('../../examples/03-acp/agent.mjs', import.meta.url), 'utf8');
  const executor = { kind: 'acp', command: ['node', 'agent.mjs'] };
  await deploy(atoll.client, 'trip', { 'agent.mjs': trip, 'atoll.json': JSON.stringify({ executor }) });
  next = random(7);
  relay = await startRelay({
    target: () => atoll.url,
    // What is short, such as an answer to a call, mostly comes through.
    cutAfter: () => 15_000 + next() * 40_000,
  });
});
after(async () => {
  await relay?.[Symbol.asyncDispose]();
  await atoll?.[Symbol.asyncDispose]();
});

const edit = (agent: string, url = atoll.url, options: EditorOptions = {}) =>
  startEditor({ args: ['--server', url, '--agent', agent], env: { ATOLL_API_KEY: atoll.key }, ...options });

async function showed(sessionId: string) {
  return (await atoll.client.call('session.show', { sessionId })).session;
}

test('cut again and again in the middle of a prompt, the editor sees everything once', async () => {
  await using editor = await edit('counter', relay.url);
  const sessionId = await editor.open();
  const { stopReason } = await editor.prompt(sessionId, 'count 2000');
  assert.equal(stopReason, 'end_turn');
  assert.equal(editor.said(sessionId), Array.from({ length: 2000 }, (_, n) => `number ${n}\n`).join(''));
  assert.ok(relay.cuts >= 3, `cut ${relay.cuts} times`);
});

test('a server that is killed in the middle of a prompt: what was said once, then what happened', async () => {
  await using straight = await startRelay({ target: () => atoll.url });
  await using editor = await edit('counter', straight.url);
  const sessionId = await editor.open();
  const waiting = editor.prompt(sessionId, 'wait');
  const ended = assert.rejects(waiting, { code: -32603, message: /server_lost/ });
  await until(async () => editor.said(sessionId) !== '');
  await atoll.kill();
  await atoll.restart();
  await ended;
  assert.equal(editor.said(sessionId), 'waiting\n');
  assert.deepEqual(await editor.prompt(sessionId, 'count 100'), { stopReason: 'end_turn' });
});

test('an ACP agent’s updates are passed on, and its permission is asked for', async () => {
  await using editor = await edit('trip');
  const sessionId = await editor.open();
  await editor.prompt(sessionId, 'Bergen');
  await editor.prompt(sessionId, 'book');
  assert.equal(editor.said(sessionId), 'On the list: BergenBooked: see tickets.txt.');
  assert.ok(editor.told.every((told) => told.sessionId === sessionId));
  const [asked] = editor.permissions;
  assert.deepEqual([asked?.toolCall.name, asked?.toolCall.rawInput], ['book', { stops: ['Bergen'] }]);
});

const never = () => new Promise<never>(() => undefined);

test('an editor that went away: the turn goes on, and the next one is told and asked', async () => {
  const first = await edit('trip', atoll.url, { permit: never });
  const sessionId = await first.open();
  await first.prompt(sessionId, 'Oslo');
  first.prompt(sessionId, 'book').catch(() => undefined);
  await until(async () => first.permissions.length > 0);
  const since = performance.now();
  assert.equal(await first.stop(), 0, first.stderr);
  assert.ok(performance.now() - since < 2000);
  await first[Symbol.asyncDispose]();
  assert.equal((await showed(sessionId)).status, 'waiting');

  await using second = await edit('trip');
  await second.agent.request('session/load', { sessionId, cwd: '/', mcpServers: [] });
  await until(async () => second.said(sessionId).endsWith('Booked: see tickets.txt.'));
  assert.equal(second.permissions.length, 1);
});

test('what somebody else decided is taken back from the editor', async () => {
  let takenBack: Promise<void> | undefined;
  const permit: Permit = (_request, signal) => {
    takenBack = new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
    return never();
  };
  await using editor = await edit('trip', atoll.url, { permit });
  const sessionId = await editor.open();
  await editor.prompt(sessionId, 'Turku');
  const booking = editor.prompt(sessionId, 'book');
  const [approval] = await until(async () => {
    const { approvals } = await atoll.client.call('approval.list', { sessionId });
    return takenBack && approvals.length > 0 && approvals;
  });
  assert.ok(approval);
  await atoll.client.call('approval.decide', { sessionId, approvalId: approval.id, decision: 'deny' });
  await takenBack;
  assert.deepEqual(await booking, { stopReason: 'end_turn' });
  assert.match(editor.said(sessionId), /Not booked\.$/);
});

test('in the modes Allow and Deny nobody is asked, and a mode holds when the session is loaded', async () => {
  await using editor = await edit('trip', atoll.url, { permit: never });
  const { sessionId, modes } = await editor.agent.request('session/new', { cwd: '/', mcpServers: [] });
  assert.equal(modes?.currentModeId, 'ask');
  assert.deepEqual(
    modes?.availableModes.map(({ id }) => id),
    ['ask', 'allow', 'deny'],
  );
  await editor.prompt(sessionId, 'Lund');
  await editor.agent.request('session/set_mode', { sessionId, modeId: 'deny' });
  await editor.prompt(sessionId, 'book');
  assert.match(editor.said(sessionId), /Not booked\.$/);
  await editor.agent.request('session/set_mode', { sessionId, modeId: 'allow' });
  await editor.prompt(sessionId, 'book');
  assert.match(editor.said(sessionId), /Booked: see tickets\.txt\.$/);
  assert.equal(editor.permissions.length, 0);
  await assert.rejects(editor.agent.request('session/set_mode', { sessionId, modeId: 'yolo' }), {
    code: -32602,
  });
  await using second = await edit('trip');
  const loaded = await second.agent.request('session/load', { sessionId, cwd: '/', mcpServers: [] });
  assert.equal(loaded.modes?.currentModeId, 'allow');
});

test('a server that is not there, or a key that is none, is an error of the session', async () => {
  await using nowhere = await edit('trip', 'http://127.0.0.1:9');
  await assert.rejects(nowhere.open(), { code: -32603, message: /cannot reach/ });
  await using keyless = await edit('trip', atoll.url, { env: { ATOLL_API_KEY: 'wrong' } });
  await assert.rejects(keyless.open(), { code: -32000 });
});
