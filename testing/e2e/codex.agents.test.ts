/** The whole path with the real Codex, in a bubblewrap sandbox and through the gateway, against the Responses API's stand-in. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { createClient, type StreamEvent } from '@atoll/client';
import { type Atoll, deploy, startAtoll, until } from '../atoll.ts';
import { killAndRestart } from '../crash.ts';
import { codexModules, missing } from '../real-agents.ts';
import { type ResponsesApi, startResponsesApi } from '../stand-ins/responses-api.ts';

const KEY = 'sk-test-THE-MARKED-SECRET-0123456789';
let api: ResponsesApi;
let atoll: Atoll;

async function open(agent: string): Promise<string> {
  return (await atoll.client.call('session.create', { agent })).session.id;
}

const send = (id: string, content: string, more: { includePartialMessages?: boolean } = {}) =>
  Array.fromAsync(atoll.client.send(id, { content, ...more }));
const doneOf = (events: readonly StreamEvent[]) => JSON.parse(events.at(-1)?.text ?? '{}');
const messagesIn = (events: readonly StreamEvent[]) =>
  events.filter(({ event }) => event === 'message').map(({ text }) => JSON.parse(text));
const end = (id: string) => atoll.client.call('session.end', { sessionId: id });

/** What the agent said, from Codex's own notifications. */
function said(events: readonly StreamEvent[]): string {
  return messagesIn(events)
    .filter(({ method, params }) => method === 'item/completed' && params.item.type === 'agentMessage')
    .map(({ params }) => params.item.text)
    .join('\n');
}

/** The one approval that waits. */
function waiting(id: string) {
  return until(async () => {
    const { approvals } = await atoll.client.call('approval.list', { sessionId: id });
    return approvals.length === 1 && approvals[0];
  });
}

/** Decides about the one approval that waits, as another client. */
async function decide(id: string, decision: 'allow' | 'deny', more: object = {}) {
  const found = await waiting(id);
  assert.equal((await atoll.client.call('session.show', { sessionId: id })).session.status, 'waiting');
  const other = createClient({ url: atoll.url, key: atoll.key });
  await other.call('approval.decide', { sessionId: id, approvalId: found.id, decision, ...more });
  return found;
}

suite('codex', { skip: missing(codexModules()) }, () => {
  before(async () => {
    api = await startResponsesApi({ apiKey: KEY });
    // As if Codex were installed beside Atoll.
    const env = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: `${api.url}/v1`, NODE_PATH: codexModules() ?? '' };
    atoll = await startAtoll({ args: ['--capacity', '2', '--driver', 'bubblewrap'], env });
    const files = { 'AGENTS.md': 'You are a test agent of the harbour.' };
    await deploy(atoll.client, 'careful', { ...files, 'atoll.json': JSON.stringify({ executor: 'codex' }) });
    const free = { executor: 'codex', permissionMode: 'bypassPermissions' };
    await deploy(atoll.client, 'free', { ...files, 'atoll.json': JSON.stringify(free) });
  });
  after(async () => {
    await atoll[Symbol.asyncDispose]();
    await api.close();
  });

  test('a turn streams, and what Codex asks is allowed or denied by another client', async () => {
    const id = await open('careful');
    const hello = await send(id, 'hello there', { includePartialMessages: true });
    const done = doneOf(hello);
    assert.equal(done.status, 'completed', JSON.stringify(done));
    assert.ok(done.usage.inputTokens > 0 && done.usage.outputTokens > 0);
    const pieces = messagesIn(hello).filter(({ method }) => method === 'item/agentMessage/delta');
    assert.equal(pieces.map(({ params }) => params.delta).join(''), 'You said: hello there');
    assert.ok(JSON.stringify(Object(api.requests.at(-1)?.body).input).includes('agent of the harbour'));

    const write = send(id, 'write hello.txt: Hello from inside');
    const { tool, input } = await decide(id, 'allow');
    assert.deepEqual([tool, Object(input.changes)[0].path], ['apply_patch', '/workspace/hello.txt']);
    assert.equal(doneOf(await write).status, 'completed');
    const file = await atoll.client.readFile(id, 'hello.txt');
    assert.equal(await new Response(file).text(), 'Hello from inside\n');

    const denied = send(id, 'run touch denied.txt');
    assert.equal((await decide(id, 'deny', { message: 'the harbour master objects' })).tool, 'shell');
    assert.match(said(await denied), /the harbour master objects/);
    await assert.rejects(atoll.client.readFile(id, 'denied.txt'), { code: 'not_found' });
    await end(id);
  });

  test('the conversation goes on after an interrupt, in a new sandbox, and after a kill -9 of the server', async () => {
    const id = await open('free');
    assert.equal(doneOf(await send(id, 'remember the harbour is at 53 north')).status, 'completed');
    const before = api.requests.length;
    const slow = send(id, 'count slowly to 500', { includePartialMessages: true });
    await until(async () => api.requests.length > before);
    await atoll.client.call('session.interrupt', { sessionId: id });
    assert.deepEqual([doneOf(await slow).status, doneOf(await slow).cause], ['interrupted', 'interrupted']);
    assert.match(said(await send(id, 'what do you remember?')), /53 north/);

    const others = [await open('free'), await open('free')];
    const evicted = (await atoll.client.call('session.show', { sessionId: id })).session;
    assert.deepEqual([evicted.status, evicted.cause], ['paused', 'evicted']);
    assert.match(said(await send(id, 'what do you remember?')), /53 north/, 'in a new sandbox');
    const { binding } = (await atoll.client.call('session.show', { sessionId: id })).session;
    await killAndRestart(atoll);
    assert.match(said(await send(id, 'what do you remember?')), /53 north/, 'with a new server');
    assert.deepEqual((await atoll.client.call('session.show', { sessionId: id })).session.binding, binding);
    for (const each of [id, ...others]) await end(each);
  });

  test('kill -9 of Codex while a command waits: approved afterwards, the repeated turn runs it once', async () => {
    const id = await open('careful');
    const content = 'run echo x >> kept.txt';
    await atoll.client.call('session.send', { sessionId: id, content });
    const approval = await waiting(id);
    const kill = 'for p in /proc/[0-9]*; do readlink $p/exe | grep -q codex$ && kill -9 $(basename $p); done';
    await atoll.client.call('session.exec', { sessionId: id, command: kill });
    const done = await until(async () => {
      const { events } = await atoll.client.call('session.events', { sessionId: id, limit: 1000 });
      return events.find(({ event }) => event === 'done')?.data as { cause?: string } | undefined;
    });
    assert.equal(done.cause, 'executor_crashed');
    await atoll.client.call('approval.decide', { sessionId: id, approvalId: approval.id, decision: 'allow' });
    const events = await send(id, content);
    assert.equal(doneOf(events).status, 'completed');
    assert.ok(!events.some(({ event }) => event === 'approval'), 'nobody is asked again');
    assert.equal(await new Response(await atoll.client.readFile(id, 'kept.txt')).text(), 'x\n');
    await end(id);
  });

  test('the model key is nowhere in the sandbox, and the API saw it', async () => {
    const id = await open('free');
    assert.equal(doneOf(await send(id, 'hello')).status, 'completed');
    const search = `env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; grep -rs MARKED-SECRE[T] / --exclude-dir=proc --exclude-dir=sys --exclude-dir=usr --exclude-dir=opt || true`;
    const found = await atoll.client.call('session.exec', { sessionId: id, command: search });
    assert.ok(found.stdout.includes('app-server'), 'the search looks at Codex itself');
    assert.ok(!found.stdout.includes('MARKED-SECRET') && !found.stderr.includes('MARKED-SECRET'));
    assert.equal(api.requests.at(-1)?.headers.authorization, `Bearer ${KEY}`);
    const { events } = await atoll.client.call('session.events', { sessionId: id, limit: 1000 });
    assert.ok(!JSON.stringify(events).includes('MARKED-SECRET'));
    await end(id);
  });
});
