import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SessionUpdate } from '@agentclientprotocol/sdk';
import fc from 'fast-check';
import { createUpdates } from './updates.ts';

function told(...messages: unknown[]): SessionUpdate[] {
  const updates = createUpdates();
  return messages.flatMap((message) => updates.of(JSON.stringify(message)).map(({ update }) => update));
}

const text = (words: string) => ({ type: 'text', text: words });
const chunk = (words: string) => ({ sessionUpdate: 'agent_message_chunk', content: text(words) });
const thought = (words: string) => ({ sessionUpdate: 'agent_thought_chunk', content: text(words) });
const assistant = (id: string, ...content: unknown[]) => ({ type: 'assistant', message: { id, content } });
const event = (inner: object) => ({ type: 'stream_event', event: inner });

test('what came in pieces is not said again when it is whole', () => {
  const delta = (of: object) => event({ type: 'content_block_delta', delta: of });
  const thinking = { type: 'thinking', thinking: 'Hm.' };
  assert.deepEqual(
    told(
      event({ type: 'message_start', message: { id: 'm1' } }),
      delta({ type: 'thinking_delta', thinking: 'Hm.' }),
      delta({ type: 'text_delta', text: 'I ' }),
      delta({ type: 'text_delta', text: 'will.' }),
      assistant('m1', thinking),
      assistant('m1', text('I will.')),
      assistant('m2', thinking, text('Done.')),
    ),
    [thought('Hm.'), chunk('I '), chunk('will.'), thought('Hm.'), chunk('Done.')],
  );
});

test('tools of Claude are calls with their results, and its list of todos is the plan', () => {
  const use = (id: string, name: string, input: object) => ({ type: 'tool_use', id, name, input });
  const result = (id: string, content: unknown, more = {}) => ({
    type: 'user',
    message: { content: [{ type: 'tool_result', tool_use_id: id, content, ...more }] },
  });
  const todos = [
    { content: 'read', status: 'completed' },
    { content: 'write', status: 'in_progress' },
    { content: 'rest', status: 'whenever' },
  ];
  const [call, plan, done, failed, ...others] = told(
    assistant('m', use('t1', 'Bash', { command: 'ls -la' }), use('t2', 'TodoWrite', { todos })),
    result('t2', 'noted'),
    result('t1', [text('a\nb')]),
    result('t3', 'no', { is_error: true }),
  );
  assert.deepEqual(call, {
    sessionUpdate: 'tool_call',
    toolCallId: 't1',
    status: 'in_progress',
    title: 'Bash ls -la',
    name: 'Bash',
    kind: 'execute',
    rawInput: { command: 'ls -la' },
  });
  const entry = (content: string, status: string) => ({ content, status, priority: 'medium' });
  assert.deepEqual(plan, {
    sessionUpdate: 'plan',
    entries: [entry('read', 'completed'), entry('write', 'in_progress'), entry('rest', 'pending')],
  });
  assert.deepEqual(done, {
    sessionUpdate: 'tool_call_update',
    toolCallId: 't1',
    status: 'completed',
    content: [{ type: 'content', content: text('a\nb') }],
  });
  assert.equal(failed && 'status' in failed && failed.status, 'failed');
  assert.deepEqual(others, []);
});

test('a subagent’s words are its tool’s', () => {
  const inner = { ...assistant('m', text('found it')), parent_tool_use_id: 't1' };
  const piece = { ...event({ delta: { type: 'text_delta', text: 'found' } }), parent_tool_use_id: 't1' };
  assert.deepEqual(told(piece, inner), []);
});

test('Codex: pieces, items, a plan', () => {
  const item = (state: string, of: object) => ({ method: `item/${state}`, params: { item: of } });
  const command = { type: 'commandExecution', id: 'c1', command: 'make' };
  const updates = told(
    { method: 'turn/started', params: {} },
    { method: 'item/reasoning/summaryTextDelta', params: { itemId: 'r', delta: 'Hm.' } },
    item('completed', { type: 'reasoning', id: 'r', summary: ['Hm.'] }),
    { method: 'turn/plan/updated', params: { plan: [{ step: 'build', status: 'inProgress' }] } },
    item('started', command),
    item('completed', { ...command, status: 'failed', aggregatedOutput: 'no rule' }),
    item('started', { type: 'fileChange', id: 'f1', changes: [{ path: 'a.md', diff: '+a' }] }),
    item('completed', { type: 'fileChange', id: 'f1', changes: [], status: 'completed' }),
    { method: 'item/agentMessage/delta', params: { itemId: 'a', delta: 'Done.' } },
    item('completed', { type: 'agentMessage', id: 'a', text: 'Done.' }),
    item('completed', { type: 'agentMessage', id: 'b', text: 'Really.' }),
  );
  assert.deepEqual(
    updates.map((update) => [
      update.sessionUpdate,
      'toolCallId' in update ? `${update.toolCallId} ${update.status}` : '',
    ]),
    [
      ['agent_thought_chunk', ''],
      ['plan', ''],
      ['tool_call', 'c1 in_progress'],
      ['tool_call_update', 'c1 failed'],
      ['tool_call', 'f1 in_progress'],
      ['tool_call_update', 'f1 completed'],
      ['agent_message_chunk', ''],
      ['agent_message_chunk', ''],
    ],
  );
});

test('an ACP agent’s own updates are passed on as they are, but for their session', () => {
  const update = { sessionUpdate: 'of_tomorrow', deep: { er: [1, null] } };
  const [only] = createUpdates().of(JSON.stringify({ sessionId: 'its own', update, _meta: { a: 1 } }));
  assert.deepEqual(only, { update, _meta: { a: 1 } });
});

test('a program’s messages are lines, and why the model stopped is known', () => {
  const updates = createUpdates();
  const all = [{ type: 'note', text: 'hello' }, { message: 'there' }, { type: 'item', n: 1 }];
  assert.deepEqual(
    all.flatMap((message) => updates.of(JSON.stringify(message)).map(({ update }) => update)),
    [chunk('hello\n'), chunk('there\n')],
  );
  assert.equal(updates.stopReason, undefined);
  updates.of('{"type":"result","stop_reason":"max_tokens"}');
  assert.equal(updates.stopReason, 'max_tokens');
});

/** Values that look like messages at first. */
const names = fc.constantFrom(
  ...[
    'type',
    'message',
    'content',
    'event',
    'delta',
    'id',
    'input',
    'todos',
    'method',
    'params',
    'item',
    'plan',
  ],
  ...['update', 'sessionUpdate', 'changes', 'summary', 'result', 'name', 'source', 'text', 'tool_use_id'],
);
const words = fc.constantFrom(
  ...['assistant', 'user', 'stream_event', 'result', 'tool_use', 'tool_result', 'TodoWrite', 'Edit', 'image'],
  ...[
    'item/started',
    'item/completed',
    'turn/plan/updated',
    'mcpToolCall',
    'fileChange',
    'reasoning',
    '',
    'x',
  ],
);
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 6 },
    words,
    fc.jsonValue({ maxDepth: 1 }),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(names, tie('value'), { maxKeys: 5 }),
  ),
}));

test('there is no message that breaks it', () => {
  fc.assert(
    fc.property(fc.array(value, { maxLength: 6 }), (messages) => {
      for (const update of told(...messages)) assert.equal(typeof update.sessionUpdate, 'string');
    }),
    { numRuns: 2000 },
  );
  for (const broken of ['', '{', 'null', '\u0000', '[1', '"text"'])
    assert.deepEqual(createUpdates().of(broken), []);
});
