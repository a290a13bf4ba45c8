/** The real Claude Agent SDK and CLI against the stand-in of the Messages API. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type MessagesApi, startMessagesApi } from '../../../../testing/stand-ins/messages-api.ts';
import { type BridgeUnderTest, startBridgeUnderTest } from '../bridge.fixture.ts';
import { childrenOf, executorContract, sdkTranscript } from '../executor.contract.ts';

const API_KEY = 'sk-stand-in';
const MCP_SERVER = `
  import { createInterface } from 'node:readline';
  const reply = (id, result) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result }) + '\\n');
  const tools = [{ name: 'ping', description: 'ping', inputSchema: { type: 'object', properties: {} } }];
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, method, params } = JSON.parse(line);
    if (id === undefined) continue;
    if (method === 'initialize')
      reply(id, { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'x', version: '1' } });
    else if (method === 'tools/list') reply(id, { tools });
    else reply(id, { content: [{ type: 'text', text: 'pong ' + process.env.MARK }] });
  }`;

describe('claude', () => {
  let api: MessagesApi;
  const env = () => ({
    ANTHROPIC_BASE_URL: api.url,
    ANTHROPIC_API_KEY: API_KEY,
    CLAUDE_CODE_MAX_RETRIES: '0',
  });
  before(async () => {
    api = await startMessagesApi({ apiKey: API_KEY });
  });
  after(() => api.close());

  executorContract('claude', () => ({
    settings: { kind: 'claude' },
    env: env(),
    failure: 'model_error',
    hasSessions: true,
    branches: true,
    transcript: sdkTranscript,
  }));

  it('uses tools as the mode allows, and gives each turn its own usage', async () => {
    const decide = async () => ({ decision: 'deny', message: 'That needs permission.' });
    await using bridge = await startBridgeUnderTest({ env: env(), decide });
    await bridge.initialize({ kind: 'claude', permissionMode: 'acceptEdits' });
    const written = await bridge.query('write note.txt: hello');
    assert.equal(readFileSync(join(bridge.workspace, 'note.txt'), 'utf8'), 'hello');
    const denied = await bridge.query('run touch /etc/atoll-test');
    assert.match(
      String(bridge.messages.findLast(({ type }) => type === 'result')?.result),
      /needs permission/,
    );
    const again = await bridge.query('hello', { model: 'claude-sonnet-5' });
    for (const { usage } of [written, denied, again]) assert.ok(Number(usage?.inputTokens) > 0);
    // One model call costs less than two, whatever came before: no running total.
    assert.ok(Number(again.usage?.costUsd) < Number(written.usage?.costUsd));
    assert.equal(again.usage?.turns, 1);
    assert.equal(lastModel(api), 'claude-sonnet-5');
  });

  it('follows the policies of the agent, whatever the mode', async () => {
    const asked: unknown[] = [];
    const decide = async ({ turnId, kind, tool }: Record<string, unknown>) => {
      asked.push([turnId, kind, tool]);
      return { decision: 'allow' };
    };
    const last = (bridge: BridgeUnderTest) =>
      String(bridge.messages.findLast(({ type }) => type === 'result')?.result);
    await using bold = await startBridgeUnderTest({ env: env(), decide });
    const approvals = { '*': 'always_ask', Bash: 'deny' } as const;
    await bold.initialize({ kind: 'claude', permissionMode: 'bypassPermissions', approvals });
    await bold.query('write a.txt: a', {}, 'first');
    assert.equal(readFileSync(join(bold.workspace, 'a.txt'), 'utf8'), 'a');
    await bold.query('run touch b.txt');
    assert.match(last(bold), /Bash failed: .*settings say deny/);
    assert.deepEqual(asked, [['first', 'tool', 'Write']]);

    await using shy = await startBridgeUnderTest({ env: env(), decide });
    await shy.initialize({ kind: 'claude', approvals: { 'B*': 'always_allow' } });
    await shy.query('run touch b.txt');
    assert.ok(existsSync(join(shy.workspace, 'b.txt')));
    assert.equal(asked.length, 1);
  });

  it('applies options that need another process, with the conversation kept', async () => {
    await using bridge = await startBridgeUnderTest({ env: env() });
    await bridge.initialize({ kind: 'claude' });
    await bridge.query('remember purple', { model: 'claude-sonnet-5' });
    const limited = await bridge.query('run echo 1', { maxTurns: 1 });
    assert.equal(limited.cause, 'max_turns');
    const broke = await bridge.query('run echo 2', { maxBudgetUsd: 0.000001 });
    assert.equal(broke.cause, 'max_budget');
    const schema = { type: 'object', properties: { colour: { type: 'string' } }, required: ['colour'] };
    const shaped = await bridge.query('which?', { outputFormat: { type: 'json_schema', schema } });
    assert.equal(shaped.status, 'completed');
    assert.deepEqual(bridge.messages.findLast(({ type }) => type === 'result')?.structured_output, {
      colour: 'sample',
    });
    await bridge.query('what do you remember?');
    assert.match(String(bridge.messages.findLast(({ type }) => type === 'result')?.result), /purple/);
    assert.notEqual(lastModel(api), 'claude-sonnet-5', "a turn's model is that turn's alone");
  });

  it("reaches the session's and the folder's MCP servers, with nothing of them on argv", async () => {
    await using bridge = await startBridgeUnderTest({ env: env() });
    const server = join(bridge.workspace, 'server.mjs');
    const config = (mark: string) => ({ command: process.execPath, args: [server], env: { MARK: mark } });
    writeFileSync(server, MCP_SERVER);
    writeFileSync(
      join(bridge.workspace, '.mcp.json'),
      JSON.stringify({ mcpServers: { folder: config('of-folder') } }),
    );
    mkdirSync(join(bridge.workspace, '.claude'));
    const settings = { permissions: { allow: ['mcp__folder__ping', 'mcp__session__ping'] } };
    writeFileSync(join(bridge.workspace, '.claude/settings.json'), JSON.stringify(settings));
    await bridge.initialize({ kind: 'claude', mcpServers: { session: config('of-session') } });
    await bridge.query('call mcp__folder__ping {}');
    assert.match(String(bridge.messages.findLast(({ type }) => type === 'result')?.result), /pong of-folder/);
    await bridge.query('call mcp__session__ping {}');
    assert.match(
      String(bridge.messages.findLast(({ type }) => type === 'result')?.result),
      /pong of-session/,
    );
    const argv = childrenOf(bridge.child.pid).map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
    assert.equal(argv.length, 1);
    assert.ok(!argv.some((line) => /of-session|of-folder|server\.mjs/.test(line)), String(argv));
  });

  it('goes on with a conversation that crashed in its first turn, before anybody heard of it', async () => {
    await using first = await startBridgeUnderTest({ env: env() });
    await first.initialize({ kind: 'claude' });
    const lost = first.query('count slowly to 1000', { includePartialMessages: true });
    lost.catch(() => undefined);
    // The CLI saves what was said a moment after it was said.
    await first.until(() => first.messages.filter(({ type }) => type === 'stream_event').length > 10);
    for (const pid of [first.child.pid, ...childrenOf(first.child.pid)]) process.kill(Number(pid), 'SIGKILL');

    await using second = await startBridgeUnderTest({ env: env(), workspace: first.workspace });
    await second.initialize({ kind: 'claude' });
    assert.equal((await second.query('and now?')).status, 'completed');
    const { messages } = Object(api.requests.at(-1)?.body);
    assert.ok(JSON.stringify(messages).includes('count slowly to 1000'));
  });

  it('fails the turn, and no more, when the session to resume is not there', async () => {
    await using bridge = await startBridgeUnderTest({ env: env() });
    await bridge.initialize({ kind: 'claude' });
    await bridge.peer.call('resume', { executorSessionId: '11111111-2222-4333-8444-555555555555' });
    const end = await bridge.query('what do you remember?');
    assert.equal(end.status, 'failed');
    assert.equal(end.cause, 'resume_failed');
    assert.match(end.detail ?? '', /No conversation found/);
  });
});

function lastModel(api: MessagesApi): unknown {
  return Reflect.get(Object(api.requests.at(-1)?.body), 'model');
}
