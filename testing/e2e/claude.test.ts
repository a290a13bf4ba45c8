/** The whole path with the real Claude Agent SDK in a bubblewrap sandbox, against a stand-in of the model's API. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createClient, type StreamEvent } from '@atoll/client';
import { type Atoll, deploy, startAtoll, until } from '../atoll.ts';
import { killAndRestart } from '../crash.ts';
import { type MessagesApi, startMessagesApi } from '../stand-ins/messages-api.ts';

const KEY = 'sk-ant-test-THE-MARKED-SECRET-0123456789';
let api: MessagesApi;
let atoll: Atoll;

before(async () => {
  api = await startMessagesApi({ apiKey: KEY });
  const env = { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url };
  atoll = await startAtoll({ args: ['--capacity', '2', '--driver', 'bubblewrap'], env });
  const settings = { permissions: { allow: ['Write', 'Edit', 'Read', 'Bash'] } };
  await deploy(atoll.client, 'hello', {
    'CLAUDE.md': 'You are a test agent.',
    '.claude/settings.json': JSON.stringify(settings),
  });
  await deploy(atoll.client, 'careful', { 'CLAUDE.md': 'You may do nothing by yourself.' });
});
after(async () => {
  await atoll[Symbol.asyncDispose]();
  await api.close();
});

async function open(agent = 'hello'): Promise<string> {
  return (await atoll.client.call('session.create', { agent })).session.id;
}

const send = (id: string, content: string) => Array.fromAsync(atoll.client.send(id, { content }));
const doneOf = (events: readonly StreamEvent[]) => JSON.parse(events.at(-1)?.text ?? '{}');

/** What the assistant said, from the SDK's own messages. */
function said(events: readonly StreamEvent[]): string {
  return events
    .filter((event) => event.event === 'message')
    .map((event) => JSON.parse(event.text))
    .filter((message) => message.type === 'assistant')
    .flatMap((message) => message.message.content)
    .flatMap((block: { type: string; text?: string }) => (block.type === 'text' ? [block.text] : []))
    .join('\n');
}

test('the agent writes a file with a tool, and it is read back through the API', async () => {
  const id = await open();
  const events = await send(id, 'write hello.txt: Hello from inside');
  const done = doneOf(events);
  assert.equal(done.status, 'completed', JSON.stringify(done));
  assert.ok(done.usage.outputTokens > 0);
  const types = events
    .filter((event) => event.event === 'message')
    .map((event) => JSON.parse(event.text).type);
  assert.ok(
    types.includes('system') && types.includes('assistant') && types.includes('result'),
    types.join(),
  );
  assert.equal(await new Response(await atoll.client.readFile(id, 'hello.txt')).text(), 'Hello from inside');
  await atoll.client.call('session.end', { sessionId: id });
});

test('the conversation goes on over turns, after an interrupt, beside another session, and after an eviction', async () => {
  const first = await open();
  assert.equal(doneOf(await send(first, 'remember the harbour is at 53 north')).status, 'completed');

  const second = await open();
  const slow = send(second, 'count slowly to 500');
  await until(
    async () => (await atoll.client.call('session.show', { sessionId: second })).session.lastSeq > 6,
  );
  assert.match(
    said(await send(first, 'what do you remember?')),
    /53 north/,
    'a session beside it is not held up',
  );
  await atoll.client.call('session.interrupt', { sessionId: second });
  assert.equal(doneOf(await slow).status, 'interrupted');
  assert.equal(
    doneOf(await send(second, 'remember the tide is low')).status,
    'completed',
    'it goes on after an interrupt',
  );
  assert.match(said(await send(second, 'what do you remember?')), /tide is low/);

  const third = await open();
  const evicted = (await atoll.client.call('session.show', { sessionId: first })).session;
  assert.deepEqual([evicted.status, evicted.cause], ['paused', 'evicted']);
  assert.match(said(await send(first, 'what do you remember?')), /53 north/, 'the conversation is resumed');
  for (const id of [first, second, third]) await atoll.client.call('session.end', { sessionId: id });
});

test('a fork remembers what came before it and not what came after, and both go on', async () => {
  const id = await open();
  const show = async (sessionId: string) => (await atoll.client.call('session.show', { sessionId })).session;
  const fork = async (at: number) =>
    (await atoll.client.call('session.fork', { sessionId: id, at })).session.id;
  assert.equal(doneOf(await send(id, 'remember the harbour is at 53 north')).status, 'completed');
  assert.equal(doneOf(await send(id, 'write ship.txt: moored')).status, 'completed');
  const { lastSeq } = await show(id);
  assert.equal(doneOf(await send(id, 'remember the tide is low')).status, 'completed');
  assert.equal(doneOf(await send(id, 'write ship.txt: sailed')).status, 'completed');
  const forked = await fork(lastSeq);
  await atoll.client.call('session.pause', { sessionId: id });
  const told = said(await send(forked, 'what do you remember?'));
  assert.match(told, /53 north/);
  assert.doesNotMatch(told, /tide/);
  assert.equal(await new Response(await atoll.client.readFile(forked, 'ship.txt')).text(), 'moored');
  await send(forked, 'remember the moon is new');
  const parent = said(await send(id, 'what do you remember?'));
  assert.match(parent, /53 north[\s\S]*tide is low/);
  assert.doesNotMatch(parent, /moon/);
  assert.equal(await new Response(await atoll.client.readFile(id, 'ship.txt')).text(), 'sailed');
  const names = await Promise.all(
    [id, forked].map(async (one) => (await show(one)).binding.executorSessionId),
  );
  assert.ok(names[0] && names[1] && names[0] !== names[1]);
  await atoll.client.call('session.end', { sessionId: id, purge: true });
  const later = said(await send(forked, 'what do you remember?'));
  assert.match(later, /53 north/);
  assert.match(later, /moon is new/);
  await atoll.client.call('session.end', { sessionId: forked });
});

test('told a fact, asked for a file, and everything of its runner is gone: it knows the fact, and so does a fork, but not what came later', async () => {
  const show = async (sessionId: string) => (await atoll.client.call('session.show', { sessionId })).session;
  const file = async (id: string, path: string) => new Response(await atoll.client.readFile(id, path)).text();
  const id = await open();
  await send(id, 'remember the harbour is at 53 north');
  await send(id, 'write hello.txt: Hello from inside');
  const { lastSeq } = await show(id);
  await send(id, 'remember the tide is low');
  await send(id, 'write later.txt: Hello again');
  // Sandboxes, pool, workspaces and what is kept beside them.
  await atoll.stop();
  await rm(join(atoll.dataDir, 'runner'), { recursive: true });
  await atoll.restart();
  const { session: forked } = await atoll.client.call('session.fork', { sessionId: id, at: lastSeq });
  assert.equal(await file(forked.id, 'hello.txt'), 'Hello from inside');
  await assert.rejects(file(forked.id, 'later.txt'), { code: 'not_found' });
  const told = said(await send(forked.id, 'what do you remember?'));
  assert.match(told, /53 north/);
  assert.doesNotMatch(told, /tide/);
  await send(forked.id, 'write hello.txt: Hello from the fork');
  assert.match(said(await send(id, 'what do you remember?')), /53 north[\s\S]*tide is low/);
  assert.equal(await file(id, 'hello.txt'), 'Hello from inside');
  assert.equal(await file(id, 'later.txt'), 'Hello again');
  assert.equal(await file(forked.id, 'hello.txt'), 'Hello from the fork');
  assert.match(said(await send(forked.id, 'what do you remember?')), /53 north/);
  for (const sessionId of [id, forked.id]) await atoll.client.call('session.end', { sessionId });
});

/** The one approval that waits, as another client sees it. */
async function asked(id: string): Promise<{ id: string; tool: string; input: Record<string, unknown> }> {
  const found = await until(async () => {
    const { approvals } = await atoll.client.call('approval.list', { sessionId: id });
    return approvals.length === 1 && approvals[0];
  });
  assert.equal((await atoll.client.call('session.show', { sessionId: id })).session.status, 'waiting');
  return found;
}

async function decide(id: string, decision: 'allow' | 'deny', more: object = {}): Promise<void> {
  const approvalId = (await asked(id)).id;
  const other = createClient({ url: atoll.url, key: atoll.key });
  await other.call('approval.decide', { sessionId: id, approvalId, decision, ...more });
}

test('a tool that needs permission waits for it: allowed, denied, interrupted', async () => {
  const id = await open('careful');
  const write = send(id, 'write allowed.txt: yes');
  const { tool, input } = await asked(id);
  assert.deepEqual([tool, input.content], ['Write', 'yes']);
  await decide(id, 'allow');
  assert.equal(doneOf(await write).status, 'completed');
  assert.equal(await new Response(await atoll.client.readFile(id, 'allowed.txt')).text(), 'yes');

  const denied = send(id, 'write denied.txt: no');
  await decide(id, 'deny', { message: 'the harbour master objects' });
  assert.match(said(await denied), /the harbour master objects/);

  const interrupted = send(id, 'write late.txt: no');
  await asked(id);
  await atoll.client.call('session.interrupt', { sessionId: id });
  const events = await interrupted;
  assert.deepEqual([doneOf(events).status, doneOf(events).cause], ['interrupted', 'interrupted']);
  const last = events.findLast(({ event }) => event === 'approval');
  assert.equal(JSON.parse(last?.text ?? '').cause, 'interrupted');
  assert.match(said(await send(id, 'hello')), /You said: hello/, 'it goes on after that');
  for (const path of ['denied.txt', 'late.txt'])
    await assert.rejects(atoll.client.readFile(id, path), { code: 'not_found' });
  await atoll.client.call('session.end', { sessionId: id });
});

test('a question of the agent is answered', async () => {
  const id = await open('careful');
  const options = ['north', 'south'].map((label) => ({ label, description: label }));
  const questions = [{ question: 'Which way?', header: 'Way', options, multiSelect: false }];
  const turn = send(id, `call AskUserQuestion ${JSON.stringify({ questions })}`);
  await decide(id, 'allow', { answers: { 'Which way?': 'south' } });
  assert.match(said(await turn), /south/);
  await atoll.client.call('session.end', { sessionId: id });
});

test('the model key is nowhere in the sandbox, and the API saw it', async () => {
  const id = await open();
  const search = `env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; grep -rs MARKED-SECRE[T] / --exclude-dir=proc --exclude-dir=sys --exclude-dir=usr || true`;
  const found = await atoll.client.call('session.exec', { sessionId: id, command: search });
  assert.ok(found.stdout.includes('ANTHROPIC_BASE_URL'), 'the search looks at the environment');
  assert.ok(!found.stdout.includes('MARKED-SECRET') && !found.stderr.includes('MARKED-SECRET'));
  assert.equal(doneOf(await send(id, 'hello')).status, 'completed');
  assert.ok(api.requests.length > 0);
  const { events } = await atoll.client.call('session.events', { sessionId: id, limit: 1000 });
  assert.ok(!JSON.stringify(events).includes('MARKED-SECRET'));
  await atoll.client.call('session.end', { sessionId: id });
});

/** The executor alone, with the bridge beside it alive. */
async function killExecutor(sessionId: string): Promise<void> {
  const command =
    'for p in /proc/[0-9]*; do readlink $p/exe | grep -q claude$ && kill -9 $(basename $p); done';
  await atoll.client.call('session.exec', { sessionId, command });
}

for (const [what, cause, kill] of [
  ['the executor', 'executor_crashed', killExecutor],
  ['the server', 'server_lost', () => killAndRestart(atoll)],
] as const)
  test(`kill -9 of ${what} while a tool waits: approved afterwards, the repeated turn uses it once`, async () => {
    const id = await open('careful');
    const content = 'write kept.txt: after the storm';
    await atoll.client.call('session.send', { sessionId: id, content });
    const { id: approvalId } = await asked(id);
    await kill(id);
    const done = await until(async () => {
      const { events } = await atoll.client.call('session.events', { sessionId: id, limit: 1000 });
      return events.find(({ event }) => event === 'done')?.data as { cause?: string } | undefined;
    });
    assert.equal(done.cause, cause);
    const other = createClient({ url: atoll.url, key: atoll.key });
    const params = { sessionId: id, approvalId, decision: 'allow' } as const;
    assert.equal((await other.call('approval.decide', params)).approval.tool, 'Write');
    const events = await send(id, content);
    assert.equal(doneOf(events).status, 'completed');
    assert.ok(!events.some(({ event }) => event === 'approval'), 'nobody is asked again');
    assert.equal(await new Response(await atoll.client.readFile(id, 'kept.txt')).text(), 'after the storm');
    const again = send(id, 'write other.txt: after the storm');
    await decide(id, 'deny');
    assert.equal(doneOf(await again).status, 'completed');
    await atoll.client.call('session.end', { sessionId: id });
  });
