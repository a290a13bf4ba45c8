/** The whole path with the real Claude Agent SDK in a bubblewrap sandbox, against a stand-in of the model's API. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { StreamEvent } from '@atoll/client';
import { type Atoll, deploy, startAtoll, until } from '../atoll.ts';
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

test('a tool that needs permission is denied with the reason', async () => {
  const id = await open('careful');
  const events = await send(id, 'write forbidden.txt: no');
  assert.equal(doneOf(events).status, 'completed');
  assert.match(events.map((event) => event.text).join('\n'), /permission/i);
  await assert.rejects(atoll.client.readFile(id, 'forbidden.txt'), { code: 'not_found' });
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
