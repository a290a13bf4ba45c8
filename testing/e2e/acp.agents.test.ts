/**
 * The whole path with real ACP agents in bubblewrap sandboxes, against stand-ins of their models: Claude Code by its ACP
 * adapter, and OpenCode. Neither has any network but its gateway.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { StreamEvent } from '@atoll/client';
import { type Atoll, deploy, startAtoll, until } from '../atoll.ts';
import { killAndRestart } from '../crash.ts';
import { claudeAgentAcp, missing, opencode, type RealAgent } from '../real-agents.ts';
import { startChatCompletionsApi } from '../stand-ins/chat-completions-api.ts';
import { startMessagesApi } from '../stand-ins/messages-api.ts';

const KEY = 'sk-test-THE-MARKED-SECRET-0123456789';

type Case = {
  name: string;
  agent: RealAgent | undefined;
  env: Record<string, string>;
  files: Record<string, string>;
  /** Its model's API, as the server is told of it. */
  model(): Promise<{
    settings: Record<string, string>;
    requests: readonly unknown[];
    close(): Promise<void>;
  }>;
  /** What makes it write `hello.txt` with the text `from inside`. */
  write: string;
  /** What the approval of that call shows. */
  tool: string;
  /** What makes it ask which way, and how it goes on when the way is south. */
  question?: [content: string, answered: RegExp];
  /** What its command line, and no other, matches. */
  killed: string;
};

const ways = ['north', 'south'].map((label) => ({ label, description: label }));
const questions = [{ question: 'Which way?', header: 'Way', options: ways, multiSelect: false }];

const cases: Case[] = [
  {
    name: 'claude-agent-acp',
    agent: claudeAgentAcp(),
    env: { CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1' },
    files: { 'CLAUDE.md': 'You are a test agent.' },
    async model() {
      const api = await startMessagesApi({ apiKey: KEY });
      return { ...api, settings: { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url } };
    },
    write: 'write hello.txt: from inside',
    tool: 'Write',
    question: [`call AskUserQuestion ${JSON.stringify({ questions })}`, /"Which way\?"="south"/],
    killed: 'claude-agent-ac[p]',
  },
  {
    name: 'opencode',
    agent: opencode(),
    env: { OPENCODE_DISABLE_MODELS_FETCH: '1', OPENCODE_DISABLE_AUTOUPDATE: '1' },
    files: {
      'AGENTS.md': 'You are a test agent.',
      'opencode.json': JSON.stringify({
        $schema: 'https://opencode.ai/config.json',
        model: 'house/stand-in-large',
        small_model: 'house/stand-in-small',
        permission: { edit: 'ask', bash: 'ask' },
        provider: {
          house: {
            npm: '@ai-sdk/openai-compatible',
            name: 'House',
            options: { baseURL: '{env:OPENAI_BASE_URL}', apiKey: '{env:OPENAI_API_KEY}' },
            models: { 'stand-in-large': { name: 'Large' }, 'stand-in-small': { name: 'Small' } },
          },
        },
      }),
    },
    async model() {
      const api = await startChatCompletionsApi({ apiKey: KEY });
      return { ...api, settings: { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: api.url } };
    },
    write: 'call write {"filePath":"/workspace/hello.txt","content":"from inside"}',
    tool: 'write',
    killed: 'bin/opencod[e]',
  },
];

for (const { name, agent, env, files, model, write, tool, question, killed } of cases)
  suite(name, { skip: missing(agent), timeout: 240_000 }, () => {
    let atoll: Atoll;
    let api: Awaited<ReturnType<typeof model>>;

    before(async () => {
      api = await model();
      const profiles = { real: { kind: 'acp', ...agent, env } };
      atoll = await startAtoll({
        args: ['--capacity', '1', '--driver', 'bubblewrap'],
        env: { ...api.settings, ATOLL_EXECUTOR_PROFILES: JSON.stringify(profiles) },
      });
      const config = JSON.stringify({ executorProfile: 'real' });
      await deploy(atoll.client, 'real', { ...files, 'atoll.json': config });
    });
    after(async () => {
      await atoll?.[Symbol.asyncDispose]();
      await api?.close();
    });

    const open = async () => (await atoll.client.call('session.create', { agent: 'real' })).session.id;
    const send = (id: string, content: string) => Array.fromAsync(atoll.client.send(id, { content }));
    const shown = async (id: string) => (await atoll.client.call('session.show', { sessionId: id })).session;

    const asked = (id: string) =>
      until(async () => {
        const { approvals } = await atoll.client.call('approval.list', { sessionId: id });
        return approvals[0];
      }, 30_000);
    const allow = (id: string, approvalId: string) =>
      atoll.client.call('approval.decide', { sessionId: id, approvalId, decision: 'allow' });

    test('it remembers, asks before it writes, is interrupted, and goes on when its sandbox is gone', async () => {
      const id = await open();
      const first = await send(id, 'remember the harbour is at 53 north');
      assert.equal(doneOf(first).status, 'completed', JSON.stringify(doneOf(first)));
      assert.ok(doneOf(first).usage.inputTokens > 0);
      assert.ok(updatesOf(first).length > 0);

      const writing = send(id, write);
      const approval = await asked(id);
      assert.equal(approval.tool, tool);
      assert.match(JSON.stringify(approval.input), /hello\.txt.*from inside/);
      assert.equal((await shown(id)).status, 'waiting');
      await allow(id, approval.id);
      assert.equal(doneOf(await writing).status, 'completed');
      assert.equal(await new Response(await atoll.client.readFile(id, 'hello.txt')).text(), 'from inside');

      const counting = send(id, 'count slowly to 500');
      const { lastSeq } = await shown(id);
      await until(async () => (await shown(id)).lastSeq > lastSeq + 5, 30_000);
      await atoll.client.call('session.interrupt', { sessionId: id });
      assert.deepEqual(
        [doneOf(await counting).status, doneOf(await counting).cause],
        ['interrupted', 'interrupted'],
      );

      const failing = doneOf(await send(id, 'fail with 400'));
      assert.deepEqual(
        [failing.status, failing.cause],
        ['failed', 'executor_failed'],
        JSON.stringify(failing),
      );
      assert.match(failing.detail, /The user asked for 400/);

      const other = await open();
      assert.deepEqual([(await shown(id)).status, (await shown(id)).cause], ['paused', 'evicted']);
      await atoll.client.call('session.end', { sessionId: other });
      const resumed = await send(id, 'what do you remember?');
      assert.match(textOf(resumed), /53 north/);
      assert.ok(!textOf(resumed).includes('I will remember'), 'nothing of before is said again');
      await atoll.client.call('session.end', { sessionId: id });
    });

    if (question)
      test('a question of the agent is answered', async () => {
        const [content, answered] = question;
        const id = await open();
        const turn = send(id, content);
        const { id: approvalId, kind } = await asked(id);
        assert.equal(kind, 'question');
        const params = { sessionId: id, approvalId, decision: 'allow', answers: { Way: 'south' } } as const;
        await atoll.client.call('approval.decide', params);
        assert.match(textOf(await turn), answered);
        await atoll.client.call('session.end', { sessionId: id });
      });

    test('kill -9 of the server while it asks: allowed afterwards, the same call is not asked about again', async () => {
      const id = await open();
      await send(id, 'remember the wind is westerly');
      await atoll.client.call('session.send', { sessionId: id, content: write });
      const { id: approvalId } = await asked(id);
      await killAndRestart(atoll);
      await allow(id, approvalId);
      const events = await send(id, write);
      assert.equal(doneOf(events).status, 'completed', JSON.stringify(doneOf(events)));
      assert.ok(!events.some(({ event }) => event === 'approval'), 'nobody is asked again');
      assert.equal(await new Response(await atoll.client.readFile(id, 'hello.txt')).text(), 'from inside');
      assert.match(textOf(await send(id, 'what do you remember?')), /wind is westerly/);
      await atoll.client.call('session.end', { sessionId: id });
    });

    test('an agent that was killed goes on with its conversation', async () => {
      const id = await open();
      await send(id, 'remember the tide is low');
      // A process of this size is not gone at once: a message that comes before is the one that fails.
      const command = `
        found=$(grep -ls '${killed}' /proc/[0-9]*/cmdline | cut -d/ -f3)
        kill -9 $found
        for p in $found; do while [ -e /proc/$p ]; do sleep 0.02; done; done`;
      await atoll.client.call('session.exec', { sessionId: id, command });
      const events = await send(id, 'what do you remember?');
      assert.equal(doneOf(events).status, 'completed', JSON.stringify(doneOf(events)));
      assert.match(textOf(events), /tide is low/);
      await atoll.client.call('session.end', { sessionId: id });
    });

    test('the key of its model is nowhere in the sandbox, and the API saw it', async () => {
      const id = await open();
      const before = api.requests.length;
      assert.equal(doneOf(await send(id, 'hello')).status, 'completed');
      assert.ok(api.requests.length > before);
      const search =
        "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; grep -rs MARKED-SECRE[T] /home /workspace /tmp || true";
      const { stdout } = await atoll.client.call('session.exec', { sessionId: id, command: search });
      assert.ok(stdout.includes('ATOLL_API_URL'), 'the search looks at the environment');
      assert.ok(!stdout.includes('MARKED-SECRET'));
      await atoll.client.call('session.end', { sessionId: id });
    });
  });

function doneOf(events: readonly StreamEvent[]) {
  return JSON.parse(events.at(-1)?.text ?? '{}');
}

type Update = { sessionUpdate: string; content?: { text?: string } };

function updatesOf(events: readonly StreamEvent[]): Update[] {
  return events
    .filter(({ event }) => event === 'message')
    .map(({ text }) => (JSON.parse(text) as { update: Update }).update);
}

function textOf(events: readonly StreamEvent[]): string {
  return updatesOf(events)
    .filter(({ sessionUpdate }) => sessionUpdate === 'agent_message_chunk')
    .map(({ content }) => content?.text ?? '')
    .join('');
}
