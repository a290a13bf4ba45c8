/** A Claude that runs before its session is known: who can have it, with the real SDK and CLI against the stand-in. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ExecutorSettings } from '@atoll/protocol/runner-link';
import { type MessagesApi, startMessagesApi } from '../../../../testing/stand-ins/messages-api.ts';
import { type BridgeUnderTest, startBridgeUnderTest } from '../bridge.fixture.ts';
import { childrenOf } from '../executor.contract.ts';
import type { ExecutorContext } from '../executor.ts';
import { fits } from './claude-spare.ts';

const API_KEY = 'sk-stand-in';

describe('who a waiting Claude fits', () => {
  const parked = {
    kind: 'claude',
    model: 'one',
    allowedTools: ['Read'],
    approvals: { '*': 'always_ask' },
  } as const;
  const contextOf = (settings: ExecutorSettings, env: object = { A: '1', B: '2' }) =>
    ({ settings, env }) as unknown as ExecutorContext;
  const cases: [string, Partial<ExecutorSettings>, object | undefined, boolean][] = [
    ['the same', {}, undefined, true],
    ['the same in another order', {}, { B: '2', A: '1' }, true],
    ['another model', { model: 'two' }, undefined, true],
    ['another permission mode', { permissionMode: 'plan' }, undefined, true],
    ['no permissions asked for', { permissionMode: 'bypassPermissions' }, undefined, false],
    ['a system prompt', { systemPrompt: 'x' }, undefined, false],
    ['other tools', { allowedTools: ['Read', 'Write'] }, undefined, false],
    ['fewer tools', { disallowedTools: ['Read'] }, undefined, false],
    ['a server', { mcpServers: { x: { command: 'y' } } }, undefined, false],
    ['another policy', { approvals: { '*': 'deny' } }, undefined, false],
    ['another variable', {}, { A: '1', B: '2', C: '3' }, false],
    ['another value', {}, { A: '1', B: '3' }, false],
  ];
  for (const [name, settings, env, expected] of cases)
    it(`${name}: ${expected ? 'it does' : 'it does not'}`, () => {
      assert.equal(fits(contextOf(parked), contextOf({ ...parked, ...settings }, env)), expected);
    });

  it('one that waits without permissions takes a session that wants none', () => {
    const bold = contextOf({ ...parked, permissionMode: 'bypassPermissions' });
    assert.equal(fits(bold, bold), true);
    assert.equal(fits(bold, contextOf(parked)), true);
  });
});

describe('a parked bridge of Claude’s', () => {
  let api: MessagesApi;
  before(async () => {
    api = await startMessagesApi({ apiKey: API_KEY });
  });
  after(() => api.close());

  async function park(): Promise<{ bridge: BridgeUnderTest; waiting: number[] }> {
    const env = { ANTHROPIC_BASE_URL: api.url, ANTHROPIC_API_KEY: API_KEY, CLAUDE_CODE_MAX_RETRIES: '0' };
    const bridge = await startBridgeUnderTest({ env });
    const { workspace } = bridge;
    const executor = { kind: 'claude' };
    await bridge.peer.call('initialize', { protocolVersion: 1, executor, workspace, env: {}, parked: true });
    return { bridge, waiting: childrenOf(bridge.child.pid) };
  }

  const asked = () => JSON.stringify(api.requests.map(({ body }) => body));

  it('has its process before anybody claims it, which serves a session with a model of its own', async () => {
    const { bridge, waiting } = await park();
    await using _ = bridge;
    assert.equal(waiting.length, 1);
    assert.deepEqual([api.requests.length, bridge.messages.length], [0, 0]);
    await assert.rejects(bridge.query('too early'), /initialize comes first/);
    await bridge.peer.call('claim', { executor: { kind: 'claude', model: 'claude-haiku-4-5' }, env: {} });
    await assert.rejects(bridge.peer.call('claim', { executor: { kind: 'claude' }, env: {} }), /not parked/);
    assert.equal((await bridge.query('remember green')).status, 'completed');
    assert.deepEqual(childrenOf(bridge.child.pid), waiting);
    assert.match(asked(), /"model":"claude-haiku-4-5"/);
    assert.equal((await bridge.query('what do you remember?')).status, 'completed');
    assert.match(String(bridge.messages.findLast(({ type }) => type === 'result')?.result), /green/);
  });

  it('starts another for what the one that waits cannot be, which then is gone', async () => {
    const { bridge, waiting } = await park();
    await using _ = bridge;
    await bridge.peer.call('claim', { executor: { kind: 'claude', systemPrompt: 'THE-PROMPT' }, env: {} });
    assert.equal((await bridge.query('hello')).status, 'completed');
    assert.match(asked(), /THE-PROMPT/);
    assert.ok(!childrenOf(bridge.child.pid).some((pid) => waiting.includes(pid)));
  });

  it('starts another for one that died while it waited', async () => {
    const { bridge, waiting } = await park();
    await using _ = bridge;
    for (const pid of waiting) process.kill(pid, 'SIGKILL');
    await bridge.peer.call('claim', { executor: { kind: 'claude' }, env: {} });
    const end = await bridge.query('hello');
    assert.equal(end.status, 'completed', JSON.stringify(end));
  });
});
