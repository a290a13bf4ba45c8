/** `atoll mcp`: the client of MCP's own library, over real pipes, starts agents and reads what they say. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, processesWith, startAtoll, until } from '../atoll.ts';
import { listenersOf, treeOf } from '../sockets.ts';
import { deployOver, startWorker } from '../worker.ts';

const MAIN = fileURLToPath(new URL('../../packages/cli/src/main.mjs', import.meta.url));
const parent = await mkdtemp(join(tmpdir(), 'atoll-mcp-'));
const dataDir = join(parent, 'data');

type Tools = {
  readonly client: Client;
  readonly transport: StdioClientTransport;
  /** The result of a tool; rejects with its error. */
  use(name: string, params?: object, options?: { signal?: AbortSignal }): Promise<Record<string, unknown>>;
};

async function connect(args: readonly string[], env: Record<string, string> = {}): Promise<Tools> {
  const { PATH = '', HOME = '' } = process.env;
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MAIN, 'mcp', ...args],
    env: { PATH, HOME, TMPDIR: tmpdir(), ...env },
    stderr: 'inherit',
  });
  const client = new Client({ name: 'test', version: '1' });
  await client.connect(transport);
  return {
    client,
    transport,
    async use(name, params = {}, options = {}) {
      const result = await client.callTool({ name, arguments: { ...params } }, undefined, options);
      const structured = result.structuredContent as Record<string, unknown>;
      const [first] = result.content as { text: string }[];
      assert.deepEqual(JSON.parse(first?.text ?? ''), structured);
      if (result.isError) throw Object.assign(new Error(String(structured.detail)), structured);
      return structured;
    },
  };
}

let tools: Tools;

before(async () => {
  await using host = await startWorker({ dataDir });
  await deployOver(host, 'versatile', versatile);
  await host.stop();
  tools = await connect(['--data-dir', dataDir]);
});
after(async () => {
  await tools?.client.close();
  assert.deepEqual(await processesWith(dataDir), []);
  await rm(parent, { recursive: true });
});

test('its tools say what they take', async () => {
  const { tools: listed } = await tools.client.listTools();
  const run = listed.find(({ name }) => name === 'run_agent');
  assert.deepEqual(run?.inputSchema.required, ['agent', 'prompt']);
  assert.ok(listed.every(({ description, inputSchema }) => description && inputSchema.type === 'object'));
  assert.ok(tools.client.getInstructions()?.includes('run_agent'));
});

test('runs an agent from its task to its answer', async () => {
  const { agents } = await tools.use('list_agents');
  assert.deepEqual(
    (agents as { name: string }[]).map(({ name }) => name),
    ['versatile'],
  );
  const done = await tools.use('run_agent', { agent: 'versatile', prompt: 'hello there' });
  assert.equal(done.status, 'completed');
  assert.equal(done.text, 'hello there\n');
  assert.equal(done.sessionEnded, true);
  const { sessions } = await tools.use('list_sessions', { status: 'ended' });
  assert.ok((sessions as { sessionId: string }[]).some(({ sessionId }) => sessionId === done.sessionId));
});

test('a conversation: create, send, wait, read, interrupt, end', async () => {
  const { sessionId } = await tools.use('create_session', { agent: 'versatile' });
  const first = await tools.use('send_message', { sessionId, content: 'remember the harbour' });
  assert.equal((await tools.use('wait_for_turn', first)).status, 'completed');
  const second = await tools.use('send_message', { sessionId, content: 'recall' });
  const { afterSeq: _, ...bare } = second;
  assert.equal((await tools.use('wait_for_turn', bare)).text, 'the harbour\n');
  assert.equal((await tools.use('read_result', second)).text, 'the harbour\n');

  const third = await tools.use('send_message', { sessionId, content: 'wait' });
  const since = performance.now();
  assert.equal((await tools.use('wait_for_turn', { ...third, waitMs: 300 })).status, 'running');
  assert.ok(performance.now() - since < 5000);
  const fourth = await tools.use('send_message', { sessionId, content: 'later' });
  assert.equal((await tools.use('read_result', fourth)).status, 'queued');
  await tools.use('interrupt_session', { sessionId });
  const stopped = await tools.use('wait_for_turn', third);
  assert.deepEqual([stopped.status, stopped.cause], ['interrupted', 'interrupted']);
  assert.equal((await tools.use('wait_for_turn', fourth)).text, 'later\n');

  const { status } = await tools.use('end_session', { sessionId });
  assert.equal(status, 'ended');
});

test('what a turn says is shown in bounds, with the way to the rest', async () => {
  const { sessionId } = await tools.use('create_session', { agent: 'versatile' });
  const words = Array.from({ length: 6000 }, (_, i) => `word${i}`).join(' ');
  const turn = await tools.use('send_message', { sessionId, content: words });
  const tail = await tools.use('wait_for_turn', turn);
  assert.equal(tail.textLength, words.length + 1);
  assert.ok(String(tail.text).length <= 16 * 1024);
  assert.ok(`${words}\n`.endsWith(String(tail.text)));
  let whole = '';
  while (whole.length < words.length + 1) {
    const piece = await tools.use('read_result', { ...turn, offset: whole.length });
    assert.equal(piece.textOffset, whole.length);
    whole += piece.text;
  }
  assert.equal(whole, `${words}\n`);

  await tools.use('wait_for_turn', await tools.use('send_message', { sessionId, content: 'emit 500 200' }));
  type Page = { events: { seq: number; cut?: string }[]; nextAfter: number };
  const seen: Page['events'] = [];
  for (let after = 0; ; ) {
    const page = (await tools.use('read_events', { sessionId, after, limit: 200 })) as Page;
    if (page.events.length === 0) break;
    assert.ok(JSON.stringify(page).length < 64 * 1024);
    seen.push(...page.events);
    after = page.nextAfter;
  }
  assert.deepEqual(
    seen.map(({ seq }) => seq),
    seen.map((_, i) => i + 1),
  );
  assert.ok(seen.some(({ cut }) => cut !== undefined));
  await tools.use('end_session', { sessionId });
});

test('what goes wrong is a tool’s error with Atoll’s code', async () => {
  await assert.rejects(tools.use('run_agent', { agent: 'nobody', prompt: 'x' }), { code: 'not_found' });
  await assert.rejects(tools.use('run_agent', { agent: 'versatile' }), { code: 'invalid_request' });
  await assert.rejects(tools.use('read_events', { sessionId: 'ses_1' }), { code: 'invalid_request' });
  await assert.rejects(tools.use('no_such_tool'), { code: -32602 });
  const failed = await tools.use('run_agent', { agent: 'versatile', prompt: 'crash' });
  assert.deepEqual([failed.status, failed.cause], ['failed', 'executor_crashed']);
});

test('a run that is taken back ends its session', async () => {
  const abort = new AbortController();
  const running = tools.use('run_agent', { agent: 'versatile', prompt: 'wait' }, { signal: abort.signal });
  const ended = assert.rejects(running);
  const isRunning = (status: string) => async () => {
    const { sessions } = await tools.use('list_sessions', { status });
    return (sessions as object[]).length > 0;
  };
  await until(isRunning('running'));
  abort.abort();
  await ended;
  await until(async () => !(await isRunning('running')()));
});

test('opens no port, and ends within two seconds of its stdin', async () => {
  const own = await connect(['--data-dir', join(parent, 'other')]);
  await own.use('list_agents');
  const pid = own.transport.pid ?? 0;
  assert.deepEqual(await listenersOf(await treeOf(pid)), []);
  const since = performance.now();
  await own.client.close();
  assert.ok(performance.now() - since < 2000);
  assert.deepEqual(await processesWith(join(parent, 'other')), []);
});

test('a server elsewhere is served from', async () => {
  await using atoll: Atoll = await startAtoll();
  await deployProgram(atoll.client, 'far', versatile);
  const remote = await connect(['--server', atoll.url], { ATOLL_API_KEY: atoll.key });
  const done = await remote.use('run_agent', { agent: 'far', prompt: 'over there', keep: true });
  assert.deepEqual([done.text, done.sessionEnded], ['over there\n', false]);
  await remote.client.close();
  const nowhere = await connect(['--server', 'http://127.0.0.1:9']);
  await assert.rejects(nowhere.use('list_agents'), { code: 'unreachable' });
  await nowhere.client.close();
});
