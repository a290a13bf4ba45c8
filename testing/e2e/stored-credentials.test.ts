/**
 * Stored credentials at work (I7): real servers, bubblewrap sandboxes, the real Claude Agent SDK. They are added outside,
 * for those whom they are for and while they are there, and are found nowhere inside.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createClient, type StreamEvent } from '@atoll/client';
import { versatile } from '../agents.ts';
import { type Atoll, deploy, deployProgram, filesBelow, startAtoll, until } from '../atoll.ts';
import { backwards, searchMemory } from '../attack.ts';
import { type McpServer, startMcpServer } from '../stand-ins/mcp-server.ts';
import { type MessagesApi, startMessagesApi } from '../stand-ins/messages-api.ts';

const KEY = 'sk-ant-api03-THE-STORED-MARK-0123456789';
const TOKEN = 'mcp-THE-STORED-MARK-9876543210';
/** As docs/credentials.md says. */
const DELETED_MS = 2000;
let atoll: Atoll;
let api: MessagesApi;
let mcp: McpServer;

before(async () => {
  api = await startMessagesApi({ apiKey: KEY });
  mcp = await startMcpServer({ token: TOKEN });
  atoll = await startAtoll({ args: ['--log-level', 'trace'] });
  const mcpServers = { tracker: { type: 'http', url: `\${ATOLL_API_URL}/mcp/tracker` } };
  await deploy(atoll.client, 'claude', {
    'CLAUDE.md': 'You are a test agent.',
    '.mcp.json': JSON.stringify({ mcpServers }),
    '.claude/settings.json': JSON.stringify({
      permissions: { allow: ['mcp__tracker', 'mcp__given', 'Bash'] },
    }),
  });
  await deployProgram(atoll.client, 'hostile', versatile);
  await deployProgram(atoll.client, 'frugal', versatile, { limits: { modelRequests: 2 } });
  await store({ name: 'model', kind: 'anthropic', url: api.url, value: KEY, agents: ['claude', 'frugal'] });
  await store({ name: 'tracker', kind: 'mcp', url: mcp.url, value: TOKEN });
});
after(async () => {
  await atoll[Symbol.asyncDispose]();
  await api.close();
  await mcp[Symbol.asyncDispose]();
});

const store = (params: Parameters<typeof atoll.client.call<'credential.set'>>[1]) =>
  atoll.client.call('credential.set', params);

async function open(agent: string, more = {}): Promise<string> {
  return (await atoll.client.call('session.create', { agent, ...more })).session.id;
}

async function send(sessionId: string, content: string): Promise<StreamEvent[]> {
  return Array.fromAsync(atoll.client.send(sessionId, { content }));
}

const doneOf = (events: readonly StreamEvent[]) => JSON.parse(events.at(-1)?.text ?? '{}');

async function run(sessionId: string, command: string): Promise<string> {
  const end = await atoll.client.call('session.exec', { sessionId, command, timeoutMs: 30_000 });
  return end.stdout + end.stderr;
}

const ASK_MODEL = `curl -s -X POST "$ANTHROPIC_BASE_URL/v1/messages" -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' -d '{"model":"claude-sonnet-5","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}'`;

test('a stored key answers a claude agent on a server without one, until it is deleted', async () => {
  const id = await open('claude');
  const done = doneOf(await send(id, 'hello'));
  assert.equal(done.status, 'completed', JSON.stringify(done));
  await atoll.client.call('credential.delete', { name: 'model' });
  const deleted = performance.now();
  const refused = await until(async () => {
    const said = await run(id, ASK_MODEL);
    return said.includes('no key for this model API') ? said : undefined;
  });
  assert.match(refused, /--kind anthropic/);
  const afterMs = performance.now() - deleted;
  assert.ok(afterMs < DELETED_MS + 1500, `refused after ${afterMs} ms`);
  await store({ name: 'model', kind: 'anthropic', url: api.url, value: KEY, agents: ['claude', 'frugal'] });
  await atoll.client.call('session.end', { sessionId: id });
});

test('the real Claude SDK uses an MCP server by its name, from .mcp.json and from the session', async () => {
  const given = { given: { type: 'http', url: `\${ATOLL_API_URL}/mcp/tracker` } };
  const id = await open('claude', { mcpServers: given });
  for (const server of ['tracker', 'given']) {
    const events = await send(id, `call mcp__${server}__lookup {"word": "harbour"}`);
    assert.equal(doneOf(events).status, 'completed', JSON.stringify(doneOf(events)));
    const text = events.map(({ text }) => text).join('\n');
    assert.match(text, /harbour is a word\. Asked with/, server);
    assert.match(text, /Bearer \[removed by Atoll\]/);
    assert.ok(!text.includes(TOKEN));
  }
  assert.ok(mcp.calls.includes('POST tools/call') && mcp.calls.includes('GET'), mcp.calls.join());
  const used = await until(async () => {
    const { events } = await atoll.client.call('session.events', { sessionId: id, limit: 1000 });
    const told = events.map(({ data }) => data as { via?: string; credential?: string });
    const names = ['model', 'mcp'].map((via) => told.find((each) => each.via === via)?.credential);
    return names.includes(undefined) ? undefined : names;
  });
  assert.deepEqual(used, ['model', 'tracker'], 'the access log names what was added');
  await atoll.client.call('session.end', { sessionId: id });
});

test('nobody gets what is another agent’s or another tenant’s', async () => {
  const asked = api.requests.length;
  const id = await open('hostile');
  assert.match(await run(id, ASK_MODEL), /no key for this model API/);
  const { secret } = await atoll.client.call('key.create', { role: 'client', tenant: 'stranger' });
  const stranger = { client: createClient({ url: atoll.url, key: secret }) };
  await deployProgram(stranger.client, 'claude', versatile);
  const { session } = await stranger.client.call('session.create', { agent: 'claude' });
  const command = `${ASK_MODEL}; curl -s "$ATOLL_API_URL/mcp/tracker"`;
  const theirs = await stranger.client.call('session.exec', { sessionId: session.id, command });
  assert.match(theirs.stdout, /no key for this model API[\s\S]*no MCP server tracker/);
  assert.equal(api.requests.length, asked);
  await stranger.client.call('session.end', { sessionId: session.id });
  await atoll.client.call('session.end', { sessionId: id });
});

test('a budget holds over sandboxes and restarts, is refused in the API’s own shape, and its end is an event', async () => {
  const id = await open('frugal');
  assert.match(await run(id, ASK_MODEL), /"role":"assistant"/);
  await atoll.restart();
  assert.match(await run(id, ASK_MODEL), /"role":"assistant"/);
  const asked = api.requests.length;
  for (let again = 0; again < 2; again++) {
    const refused = JSON.parse(await run(id, ASK_MODEL));
    assert.deepEqual([refused.type, refused.error.type], ['error', 'rate_limit_error']);
  }
  assert.equal(api.requests.length, asked);
  const { events } = await atoll.client.call('session.events', { sessionId: id, limit: 1000 });
  const errors = events.filter(({ event }) => event === 'error').map(({ data }) => data as { code: string });
  assert.deepEqual(
    errors.map(({ code }) => code),
    ['model_budget_spent'],
  );
  await atoll.client.call('session.end', { sessionId: id });
});

/** Every file and process that it may read, and all that it can make others say. */
const SEARCH = `
env; tr '\\0' '\\n' < /proc/1/environ; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'
curl -s "$ATOLL_API_URL/mcp/tracker" -H 'authorization: Bearer mine'
curl -si "$ATOLL_API_URL/mcp/tracker/none" -X POST -d '{'
curl -si "$ATOLL_API_URL/mcp/tracker" -X POST -d '{"id":1,"method":"initialize","params":{}}' -D headers; session=$(sed -n 's/^mcp-session-id: //ip' headers | tr -d '\\r')
curl -si "$ATOLL_API_URL/mcp/tracker" -X POST -H "mcp-session-id: $session" -d '{"id":2,"method":"tools/call","params":{"arguments":{"word":"echo"}}}'
curl -si "$ATOLL_API_URL/api/credentials"; curl -si "$ATOLL_API_URL/api/sessions/$ATOLL_SESSION_ID"
echo searched`;

test('a hostile agent finds no mark, in its sandbox or in what it makes others say', async () => {
  const id = await open('hostile');
  const said = await run(id, SEARCH);
  assert.match(said, /echo is a word\. Asked with .*Bearer \[removed by Atoll\][\s\S]*searched/);
  await atoll.client.writeFile(id, 'search.pl', new TextEncoder().encode(searchMemory));
  for (const mark of [KEY, TOKEN])
    assert.match(await run(id, `perl search.pl '${backwards(mark)}'`), /^read [2-9]\d*$/m, 'in memory');
  const files = (await filesBelow(atoll.dataDir)).filter((file) => !file.endsWith('.sock'));
  const bytes = await Promise.all(
    files.map((file) => readFile(join(atoll.dataDir, file)).catch(() => Buffer.alloc(0))),
  );
  const { events } = await atoll.client.call('session.events', { sessionId: id, limit: 1000 });
  for (const mark of [KEY, TOKEN].flatMap((each) => [
    each,
    Buffer.from(each).toString('base64').slice(0, 20),
  ])) {
    assert.ok(!said.includes(mark), 'in what the agent saw');
    assert.ok(!JSON.stringify(events).includes(mark), 'in the log of the session');
    assert.ok(!atoll.stderr.includes(mark), 'in the log of the server');
    assert.deepEqual(
      files.filter((_, at) => bytes[at]?.includes(mark)),
      [],
    );
  }
});
