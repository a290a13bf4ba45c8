/** The executor `acp` with an agent made with ACP's own library. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startBridgeUnderTest } from '../bridge.fixture.ts';
import { executorContract } from '../executor.contract.ts';
import { acpTranscript, type Decide, logged, said, settings, start } from './acp.fixture.ts';

executorContract('acp', () => ({
  settings,
  env: {},
  failure: 'executor_failed',
  hasSessions: true,
  branches: false,
  transcript: acpTranscript,
}));

describe('acp: messages and ends', () => {
  it('passes the params of a session/update on as they were written, whatever stands around them', async () => {
    const blocks: string[] = [];
    await using bridge = await startBridgeUnderTest({
      onBlock: (block) => blocks.push(Buffer.from(block).toString()),
    });
    await bridge.initialize(settings);
    const params =
      '{ "update" : {"sessionUpdate":"x", "text":"\\u00e9é\\/ \\"}" , "n":1.50e1}, "sessionId":"s" }';
    const line = `{"params": ${params} ,"_meta":{"params":1},"method":"session/update","jsonrpc":"2.0"}\r\n`;
    await bridge.query(`raw ${JSON.stringify(line)}`);
    assert.ok(blocks.join('').includes(`{"jsonrpc":"2.0","method":"message","params":${params}}\n`));
  });

  it('tells stop reasons, and usage with what this turn alone cost', async () => {
    await using bridge = await start();
    const first = await bridge.query('cost 0.5');
    assert.deepEqual([first.status, first.stopReason], ['completed', 'end_turn']);
    assert.deepEqual(first.usage, {
      inputTokens: 10,
      outputTokens: 5,
      cacheReadTokens: 3,
      cacheCreationTokens: 0,
      costUsd: 0.5,
      turns: 0,
      durationMs: 0,
    });
    assert.equal((await bridge.query('cost 0.75')).usage?.costUsd, 0.25);
    for (const [reason, status, cause] of [
      ['max_tokens', 'failed', 'max_tokens'],
      ['max_turn_requests', 'failed', 'max_turns'],
      ['refusal', 'failed', 'refusal'],
      ['cancelled', 'interrupted', 'interrupted'],
    ]) {
      const end = await bridge.query(`stop ${reason}`);
      assert.deepEqual([end.status, end.cause, end.stopReason], [status, cause, reason]);
      assert.ok(end.detail);
    }
  });

  it('tells an agent that asks for files that nobody has any', async () => {
    await using bridge = await start();
    assert.equal(await said(bridge, 'write /etc/passwd'), 'refused -32601');
  });

  it('hands over images where the agent takes them, and refuses content that it does not take', async () => {
    const source = { type: 'base64', media_type: 'image/png', data: 'AAAA' };
    const content = [
      { type: 'text', text: 'kinds' },
      { type: 'image', source },
    ];
    await using seeing = await start({ mock: 'images' });
    assert.equal(await said(seeing, content), 'text,image');
    await using blind = await start();
    const refused = await blind.query(content);
    assert.deepEqual(
      [refused.status, refused.cause, refused.detail],
      ['failed', 'executor_failed', 'This agent takes no images.'],
    );
    assert.match(
      (await blind.query([{ type: 'tool_result' }])).detail ?? '',
      /no content of the type tool_result/,
    );
    assert.equal(await said(blind, 'hello'), 'You said: hello');
  });

  it('chooses model and mode where the agent offers them, for one turn or for all', async () => {
    await using bridge = await start({
      more: { model: 'large', permissionMode: 'plan', systemPrompt: 'Be brief.' },
    });
    assert.equal(await said(bridge, 'model'), 'large');
    assert.equal(await said(bridge, 'model', { model: 'small' }), 'small');
    assert.equal(await said(bridge, 'model'), 'large');
    await logged(bridge, /mode plan\n/);
    await logged(bridge, /no words for systemPrompt/);
    const unknown = await bridge.query('model', { model: 'huge' });
    assert.deepEqual([unknown.status, unknown.cause], ['failed', 'model_error']);
    assert.match(unknown.detail ?? '', /does not take the model huge .* it has small, large/);
    await using plain = await start({ mock: 'no-models' });
    assert.match((await plain.query('hi', { model: 'x' })).detail ?? '', /does not let its model be chosen/);
    await using usual = await start({ more: { permissionMode: 'default' } });
    assert.equal(await said(usual, 'hello'), 'You said: hello');
    await using wild = await start({ more: { permissionMode: 'bypassPermissions' } });
    assert.match((await wild.query('hi')).detail ?? '', /no mode bypassPermissions; it has ask, plan/);
  });

  it('gives MCP servers in the words of ACP, and says what the agent cannot reach', async () => {
    const local = { command: 'node', args: ['server.mjs'], env: { A: 'b' } };
    await using bridge = await start({ more: { mcpServers: { local } } });
    await bridge.query('hi');
    await logged(
      bridge,
      /servers \[\{"name":"local","command":"node","args":\["server.mjs"\],"env":\[\{"name":"A","value":"b"\}\]\}\]/,
    );
    await using far = await start({ more: { mcpServers: { far: { type: 'http', url: 'http://x' } } } });
    assert.match((await far.query('hi')).detail ?? '', /cannot reach MCP servers by http \(far\)/);
  });
});

describe('acp: approvals', () => {
  it('asks people, and answers with the option that fits', async () => {
    const asked: Record<string, unknown>[] = [];
    const decisions = ['allow', 'deny', 'cancelled'];
    await using bridge = await start({
      decide: async (request) => {
        asked.push(request);
        return { decision: decisions[asked.length - 1] };
      },
    });
    assert.equal(await said(bridge, 'ask write edit'), '{"outcome":"selected","optionId":"once"}');
    assert.equal(await said(bridge, 'ask write edit'), '{"outcome":"selected","optionId":"no"}');
    assert.equal(await said(bridge, 'ask write edit'), '{"outcome":"cancelled"}');
    const [first] = asked;
    const turnId = first?.turnId;
    assert.deepEqual(first, {
      turnId,
      kind: 'tool',
      tool: 'write',
      input: { path: 'a.txt' },
      options: ['allow', 'deny'],
    });
  });

  it('follows the policies of the agent, by the name of the tool and by its kind', async () => {
    const asked: unknown[] = [];
    const approvals = {
      '*': 'deny',
      read: 'always_allow',
      bash: 'always_allow',
      'w*': 'always_ask',
    } as const;
    await using bridge = await start({
      more: { approvals },
      decide: async ({ tool }) => {
        asked.push(tool);
        return { decision: 'allow' };
      },
    });
    assert.match(await said(bridge, 'ask grep read'), /once/);
    assert.match(await said(bridge, 'ask bash execute'), /once/);
    assert.match(await said(bridge, 'ask other execute'), /no/);
    assert.deepEqual(asked, []);
    assert.match(await said(bridge, 'ask write edit'), /once/);
    assert.deepEqual(asked, ['write']);
  });

  it('puts questions, and gives the answers as the form wants them', async () => {
    const asked: Record<string, unknown>[] = [];
    const decisions = [
      { decision: 'allow', answers: { Way: 'south', miles: '12' } },
      { decision: 'allow', message: 'north' },
      { decision: 'deny' },
    ];
    const decide: Decide = async (request) => {
      asked.push(request);
      return decisions[asked.length - 1];
    };
    await using bridge = await start({ decide });
    assert.equal(await said(bridge, 'question'), '{"action":"accept","content":{"way":"s","miles":12}}');
    assert.equal(await said(bridge, 'question'), '{"action":"accept","content":{"way":"n"}}');
    assert.equal(await said(bridge, 'question'), '{"action":"decline"}');
    assert.deepEqual(
      [asked[0]?.kind, asked[0]?.tool, Object(asked[0]?.input).message],
      ['question', 'elicitation', 'Which way, and how far?'],
    );
    await using silent = await start({ decide, more: { approvals: { elicitation: 'deny' } } });
    assert.equal(await said(silent, 'question'), '{"action":"decline"}');
    assert.equal(asked.length, 3);
  });

  it('interrupts a turn that waits for a decision', async () => {
    const waiting = Promise.withResolvers<void>();
    await using bridge = await start({
      decide: () => {
        waiting.resolve();
        return new Promise(() => undefined);
      },
    });
    const turn = bridge.query('ask write edit', {}, 'slow');
    await waiting.promise;
    await bridge.peer.call('interrupt', { turnId: 'slow' });
    assert.equal((await turn).status, 'interrupted');
    assert.equal(await said(bridge, 'hello'), 'You said: hello');
  });

  it('denies what nobody could keep up with, and ends an agent that goes on', async () => {
    await using bridge = await start({
      decide: () => new Promise((resolve) => setImmediate(resolve, { decision: 'allow' })),
    });
    assert.match(await said(bridge, 'storm 100'), /\d+ of 100 denied/);
    await using endless = await start({ decide: () => new Promise(() => undefined) });
    const end = await endless.query('storm 1000');
    assert.deepEqual([end.status, end.cause], ['failed', 'executor_protocol']);
    assert.match(end.detail ?? '', /asked for more than anybody could decide/);
    assert.equal(await said(endless, 'hello'), 'You said: hello');
  });
});

describe('acp: going on with a conversation', () => {
  it('without a replay, where the agent can', async () => {
    await using first = await start({ mock: 'resume' });
    const { executorSessionId = '' } = await first.query('remember pink');
    await first.peer.call('shutdown', {});
    await using second = await start({ mock: 'resume', workspace: first.workspace });
    await second.peer.call('resume', { executorSessionId });
    assert.equal(await said(second, 'what do you remember?'), 'I remember: pink');
    await logged(second, /resumed without a replay/);
  });

  it('says that it begins anew, where the agent cannot', async () => {
    await using first = await start({ mock: 'no-load' });
    const { executorSessionId = '' } = await first.query('remember pink');
    await first.peer.call('shutdown', {});
    await using second = await start({ mock: 'no-load', workspace: first.workspace });
    await second.peer.call('resume', { executorSessionId });
    assert.equal(await said(second, 'what do you remember?'), 'I remember: ');
    await logged(second, /\[atoll\] this agent cannot go on with an earlier conversation: it begins anew/);
  });

  it('fails the turn when the agent has lost a conversation that was asked for', async () => {
    await using bridge = await start();
    await bridge.peer.call('resume', { executorSessionId: 'lost' });
    const end = await bridge.query('what do you remember?');
    assert.deepEqual([end.status, end.cause], ['failed', 'resume_failed']);
    assert.match(end.detail ?? '', /cannot go on with its conversation: .*not found/i);
  });

  it('goes on with one that crashed in its first turn, before anybody heard of it', async () => {
    await using first = await start();
    const lost = first.query('count slowly to 1000');
    lost.catch(() => undefined);
    await first.until(() => first.messages.length > 2);
    first.child.kill('SIGKILL');
    await using second = await start({ workspace: first.workspace });
    const end = await second.query('hello');
    assert.equal(end.status, 'completed');
    assert.equal(end.executorSessionId, first.messages[0]?.sessionId);
  });

  it('has one whose name cannot be kept, and says so', async () => {
    await using bridge = await start({ mock: 'odd-name' });
    const end = await bridge.query('remember pink');
    assert.equal(end.executorSessionId, undefined);
    await logged(bridge, /names its conversation as none can be kept/);
    assert.equal(await said(bridge, 'what do you remember?'), 'I remember: pink');
  });
});
