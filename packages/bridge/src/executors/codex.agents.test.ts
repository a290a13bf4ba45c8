/** The real Codex against the stand-in of the Responses API. */
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ExecutorSettings } from '@atoll/protocol/runner-link';
import { processesWith, until } from '../../../../testing/atoll.ts';
import { codexModules, missing } from '../../../../testing/real-agents.ts';
import { type ResponsesApi, startResponsesApi } from '../../../../testing/stand-ins/responses-api.ts';
import {
  type BridgeUnderTest,
  type BridgeUnderTestOptions,
  type Message,
  startBridgeUnderTest,
} from '../bridge.fixture.ts';
import { childrenOf, executorContract } from '../executor.contract.ts';

const API_KEY = 'sk-stand-in';
const MCP_SERVER = fileURLToPath(new URL('codex-mcp.fixture.ts', import.meta.url));
/** One model of each kind: whose tools are called in code, and whose tools are functions. */
const MODELS = ['gpt-6.1-sol', 'gpt-5.5'];
const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';

type Asked = { kind: string; tool: string; input: Record<string, unknown>; turnId: string };
type Decide = (asked: Asked) => unknown;

describe('codex', { skip: missing(codexModules()) }, () => {
  let api: ResponsesApi;
  const env = () => ({
    NODE_PATH: codexModules() ?? '',
    OPENAI_BASE_URL: `${api.url}/v1`,
    OPENAI_API_KEY: API_KEY,
  });
  before(async () => {
    api = await startResponsesApi({ apiKey: API_KEY });
  });
  after(() => api.close());

  executorContract('codex', () => ({
    settings: { kind: 'codex' },
    env: env(),
    failure: 'model_error',
    hasSessions: true,
    branches: false,
    transcript: {
      isAnswer: (message) => said(message) !== undefined,
      textOf(turn) {
        assert.equal(turn.at(-1)?.method, 'turn/completed');
        return turn.map(said).findLast(Boolean) ?? '';
      },
    },
  }));

  async function open(
    settings: Partial<ExecutorSettings> = {},
    decide: Decide = () => assert.fail('asked'),
    more: BridgeUnderTestOptions = {},
  ) {
    const asked: Asked[] = [];
    const bridge = await startBridgeUnderTest({
      env: env(),
      decide: async (request) => {
        asked.push(request as Asked);
        return decide(request as Asked);
      },
      ...more,
    });
    await bridge.initialize({ kind: 'codex', ...settings });
    return { bridge, asked, [Symbol.asyncDispose]: bridge.end };
  }

  const lastBody = () => Object(api.requests.at(-1)?.body);

  for (const model of MODELS)
    it(`asks before it does anything, with tools as ${model} has them`, async () => {
      const decisions: unknown[] = [
        { decision: 'allow' },
        { decision: 'allow' },
        { decision: 'deny', message: 'the harbour master objects' },
        { decision: 'deny' },
      ];
      await using opened = await open({ model }, () => decisions.shift());
      const { bridge, asked } = opened;
      const written = await bridge.query('write note.txt: hello', {}, 'first');
      assert.equal(readFileSync(join(bridge.workspace, 'note.txt'), 'utf8'), 'hello\n');
      const ran = await bridge.query('run echo harbour | tr a-z A-Z');
      assert.match(lastSaid(bridge), /HARBOUR/);
      const denied = await bridge.query('run touch denied.txt');
      assert.match(lastSaid(bridge), /Permission to use shell was denied: the harbour master objects/);
      await bridge.query('write denied.txt: no');
      assert.match(lastSaid(bridge), /rejected/);
      assert.ok(!existsSync(join(bridge.workspace, 'denied.txt')));
      assert.deepEqual(
        asked.map(({ kind, tool }) => `${kind} ${tool}`),
        ['tool apply_patch', 'tool shell', 'tool shell', 'tool apply_patch'],
      );
      assert.equal(asked[0]?.turnId, 'first');
      const path = join(bridge.workspace, 'note.txt');
      assert.deepEqual(asked[0]?.input, { changes: [{ path, kind: { type: 'add' }, diff: 'hello\n' }] });
      assert.match(String(asked[1]?.input.command), /echo harbour/);
      assert.ok(!JSON.stringify(asked).includes(String(written.executorSessionId)), 'no ids in the input');
      for (const { usage } of [written, ran, denied]) {
        assert.equal(usage?.turns, 2);
        assert.ok(Number(usage?.inputTokens) > 0 && Number(usage?.outputTokens) > 0);
      }
    });

  it('follows the policies of the agent, whatever the mode', async () => {
    const approvals = { '*': 'always_ask', shell: 'deny' } as const;
    await using bold = await open({ permissionMode: 'bypassPermissions', approvals }, () => ({
      decision: 'allow',
    }));
    await bold.bridge.query('write a.txt: a');
    await bold.bridge.query('run touch b.txt');
    assert.ok(!existsSync(join(bold.bridge.workspace, 'b.txt')));
    assert.match(lastSaid(bold.bridge), /settings say deny for shell/);
    assert.deepEqual(
      bold.asked.map(({ tool }) => tool),
      ['apply_patch'],
    );

    await using shy = await open({ permissionMode: 'acceptEdits', approvals: { 's*': 'always_allow' } });
    await shy.bridge.query('run touch b.txt');
    await shy.bridge.query('write c.txt: c');
    assert.deepEqual(readdirSync(shy.bridge.workspace).filter(isText), ['b.txt', 'c.txt']);
  });

  it('asks what the model wants to know', async () => {
    const options = ['north', 'south'].map((label) => ({ label, description: label }));
    const question = { id: 'way', header: 'Way', question: 'Which way?', options };
    await using opened = await open({}, () => ({ decision: 'allow', answers: { 'Which way?': 'south' } }));
    await opened.bridge.query(`call request_user_input ${JSON.stringify({ questions: [question] })}`);
    assert.match(lastSaid(opened.bridge), /south/);
    assert.deepEqual([opened.asked[0]?.kind, opened.asked[0]?.tool], ['question', 'request_user_input']);
  });

  it("reaches the session's and the folder's MCP servers, with nothing of them on argv", async () => {
    const answers: Record<string, unknown> = {
      mcp__session__ping: { decision: 'allow' },
      mcp__session: { decision: 'allow', answers: { age: '7', name: 'Ada' } },
    };
    const config = (mark: string) => ({ command: process.execPath, args: [MCP_SERVER], env: { MARK: mark } });
    const approvals = { mcp__session__ask: 'always_allow', mcp__session__secret: 'deny' } as const;
    const mcpServers = { session: config('of-session') };
    const home = mkdtempSync(join(tmpdir(), 'atoll-home-'));
    const apart = { env: { ...env(), HOME: home } };
    await using opened = await open({ mcpServers, approvals }, ({ tool }) => answers[tool], apart);
    const { bridge, asked } = opened;
    mkdirSync(join(bridge.workspace, '.codex'));
    const folder = `[mcp_servers.folder]\ncommand = "${process.execPath}"\nargs = ["${MCP_SERVER}"]\ndefault_tools_approval_mode = "approve"\n[mcp_servers.folder.env]\nMARK = "of-folder"\n`;
    writeFileSync(join(bridge.workspace, '.codex/config.toml'), folder);
    await bridge.query('call mcp__folder__ping {}');
    assert.match(lastSaid(bridge), /pong of-folder/);
    await bridge.query('call mcp__session__ping {"x": "y"}');
    assert.match(lastSaid(bridge), /pong of-session/);
    await bridge.query('call mcp__session__secret {}');
    assert.match(lastSaid(bridge), /settings say deny/);
    await bridge.query('call mcp__session__ask {}');
    assert.match(lastSaid(bridge), /Ada 7 number/);
    assert.deepEqual(
      asked.map(({ kind, tool, input }) => [kind, tool, input.x ?? input.message]),
      [
        ['tool', 'mcp__session__ping', 'y'],
        ['question', 'mcp__session', 'Who?'],
      ],
    );
    const argv = childrenOf(bridge.child.pid).map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
    assert.equal(argv.length, 1);
    assert.ok(!/of-session|of-folder|fixture/.test(String(argv)), String(argv));
    rmSync(home, { recursive: true });
  });

  it('takes the options of a turn for that turn alone, and refuses what it cannot keep to', async () => {
    await using opened = await open({ model: 'gpt-5.5', systemPrompt: 'You are a lighthouse.' });
    const { bridge } = opened;
    await bridge.query('hello', { model: 'gpt-6-sol' });
    assert.equal(lastBody().model, 'gpt-6-sol');
    const schema = { type: 'object', properties: { a: { type: 'string' } } };
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PIXEL } };
    await bridge.query([image, { type: 'text', text: 'see' }], {
      outputFormat: { type: 'json_schema', schema },
    });
    assert.equal(lastBody().model, 'gpt-5.5');
    assert.deepEqual(lastBody().text.format.schema, schema);
    assert.ok(JSON.stringify(lastBody()).includes('You are a lighthouse.'));
    assert.ok(JSON.stringify(lastBody().input.at(-1)).includes(`data:image/png;base64,${PIXEL}`));
    const refused: [unknown, Record<string, unknown>, RegExp][] = [
      ['x', { maxTurns: 1 }, /cannot keep to maxTurns/],
      ['x', { maxBudgetUsd: 1 }, /cannot keep to maxBudgetUsd/],
      ['x', { outputFormat: { type: 'xml' } }, /json_schema, and no other/],
      [[{ type: 'document' }], {}, /none of type document/],
    ];
    for (const [content, options, why] of refused) {
      const { cause, detail } = await bridge.query(content, options);
      assert.equal(cause, 'executor_failed');
      assert.match(detail ?? '', why);
    }
    await using odd = await open({ permissionMode: 'plan' });
    assert.match((await odd.bridge.query('x')).detail ?? '', /no permission mode plan/);
  });

  it('streams pieces to those who want them, and passes its notifications on as they are', async () => {
    await using opened = await open();
    const { bridge } = opened;
    await bridge.query('hello there');
    assert.deepEqual(bridge.messages.filter(isDelta), []);
    await bridge.query('hello there', { includePartialMessages: true });
    const pieces = bridge.messages.filter(isDelta).map(({ params }) => Object(params).delta);
    assert.equal(pieces.join(''), 'You said: hello there');
    assert.ok(bridge.messages.every(({ method, params }) => typeof method === 'string' && params));
  });

  it('ends the commands of an interrupted turn', async () => {
    await using opened = await open({ permissionMode: 'bypassPermissions', model: 'gpt-5.5' });
    const mark = `4321${process.pid}`;
    const turn = opened.bridge.query(`run sleep ${mark}`, {}, 'long');
    await until(async () => (await processesWith(mark)).length > 0);
    await opened.bridge.peer.call('interrupt', { turnId: 'long' });
    assert.equal((await turn).status, 'interrupted');
    await until(async () => (await processesWith(mark)).length === 0);
  });

  it('withdraws what it asked when the turn is interrupted', async () => {
    const { promise: open1, resolve } = Promise.withResolvers<void>();
    await using opened = await open({}, () => {
      resolve();
      return new Promise(() => undefined);
    });
    const turn = opened.bridge.query('run touch late.txt', {}, 'asking');
    await open1;
    await opened.bridge.peer.call('interrupt', { turnId: 'asking' });
    assert.equal((await turn).cause, 'interrupted');
    assert.equal((await opened.bridge.query('hello')).status, 'completed');
  });

  it('says what the model’s API said', async () => {
    await using opened = await open({}, undefined, { env: { ...env(), OPENAI_API_KEY: 'sk-wrong' } });
    const { cause, detail } = await opened.bridge.query('hello');
    assert.equal(cause, 'model_error');
    assert.match(detail ?? '', /Incorrect API key/);
    await using other = await open();
    const { stopReason, ...end } = await other.bridge.query('fail with 400');
    assert.deepEqual([end.cause, end.detail], ['model_error', 'The user asked for 400.']);
  });

  it('goes on with a conversation that crashed in its first turn, before anybody heard of it', async () => {
    await using first = await open();
    const lost = first.bridge.query('count slowly to 1000', { includePartialMessages: true });
    lost.catch(() => undefined);
    await first.bridge.until(() => first.bridge.messages.filter(isDelta).length > 3);
    for (const pid of [first.bridge.child.pid, ...childrenOf(first.bridge.child.pid)])
      process.kill(Number(pid), 'SIGKILL');
    await using second = await open({}, undefined, { workspace: first.bridge.workspace });
    assert.equal((await second.bridge.query('and now?')).status, 'completed');
    assert.ok(JSON.stringify(lastBody().input).includes('count slowly to 1000'));
  });

  it('fails the turn, and no more, when the session to resume is not there', async () => {
    await using opened = await open();
    await opened.bridge.peer.call('resume', { executorSessionId: '11111111-2222-7333-8444-555555555555' });
    const end = await opened.bridge.query('what do you remember?');
    assert.equal(end.cause, 'resume_failed');
    assert.match(end.detail ?? '', /no rollout found/);
  });

  it('takes no settings from the home, which an agent can write', async () => {
    await using first = await open({ permissionMode: 'bypassPermissions' });
    const { workspace, peer } = first.bridge;
    await first.bridge.query(`run echo 'model = "of-the-home"' > .codex/config.toml`);
    assert.ok(existsSync(join(workspace, '.codex/config.toml')));
    await peer.call('shutdown', {});
    await using second = await open({}, undefined, { workspace });
    await second.bridge.query('hello');
    assert.notEqual(lastBody().model, 'of-the-home');
  });

  it('is an end with its mending where it is not installed', async () => {
    await using opened = await open({}, undefined, { env: { ...env(), NODE_PATH: '' } });
    const end = await opened.bridge.query('hello');
    assert.equal(end.cause, 'executor_unavailable');
    assert.match(end.detail ?? '', /npm install @openai\/codex/);
  });
});

type Item = { type: string; text?: string };

function said({ method, params }: Message): string | undefined {
  const { item, delta } = params as { item?: Item; delta?: string };
  if (method === 'item/agentMessage/delta') return delta;
  return method === 'item/completed' && item?.type === 'agentMessage' ? item.text : undefined;
}

function lastSaid({ messages }: BridgeUnderTest): string {
  return messages.map(said).findLast(Boolean) ?? '';
}

function isDelta({ method }: Message): boolean {
  return method === 'item/agentMessage/delta';
}

function isText(name: string): boolean {
  return name.endsWith('.txt');
}
