import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createStyle, harmless, oneLine, table } from '../terminal.ts';
import { createMessageRenderer } from './message.ts';
import { jsonLine } from './stream.ts';

const plain = createStyle(false);
const renderAll = (...messages: unknown[]) => {
  const renderer = createMessageRenderer(plain);
  return messages.map((message) => renderer.render(message)).join('');
};
const assistant = (...content: unknown[]) => ({ type: 'assistant', message: { content } });
const delta = (text: string) => ({ type: 'stream_event', event: { delta: { type: 'text_delta', text } } });

test('a turn as a person reads it', () => {
  const shown = renderAll(
    { type: 'system', subtype: 'init', model: 'claude-x', tools: ['A', 'B'] },
    assistant(
      { type: 'text', text: 'I will.' },
      { type: 'tool_use', name: 'Write', input: { file_path: 'a.md', content: 'x' } },
    ),
    {
      type: 'user',
      message: { content: [{ type: 'tool_result', content: [{ type: 'text', text: 'ok\nmore' }] }] },
    },
    { type: 'user', message: { content: [{ type: 'tool_result', content: 'no', is_error: true }] } },
    { type: 'result', num_turns: 2, duration_ms: 1234, total_cost_usd: 0.0012 },
  );
  assert.equal(
    shown,
    [
      '· claude-x, 2 tools',
      'I will.',
      '● Write a.md',
      '  ⎿ ok (+1 lines)',
      '  ⎿ no',
      '✓ done · 2 steps · 1.2 s · $0.0012',
      '',
    ].join('\n'),
  );
});

test('text that was streamed is not said twice', () => {
  const shown = renderAll(delta('Hel'), delta('lo'), assistant({ type: 'text', text: 'Hello' }), {
    type: 'result',
  });
  assert.equal(shown, 'Hello\n✓ done\n');
});

test('odd messages are shown shortly and never throw', () => {
  const odd: unknown[] = [
    null,
    7,
    'text',
    [],
    {},
    { type: 'assistant' },
    { type: 'assistant', message: { content: [null, 3, { type: 'tool_use', input: 'x' }] } },
    { type: 'user', message: { content: 'plain' } },
    { type: 'result', is_error: true, total_cost_usd: 'much', num_turns: Number.NaN },
    { type: 'system' },
    { type: 'stream_event', event: null },
    { type: 'brand_new', text: 'hello' },
    { type: 'x'.repeat(500) },
  ];
  for (const message of odd) assert.equal(typeof renderAll(message), 'string');
  assert.equal(renderAll({ type: 'brand_new', text: 'hello' }), 'hello\n');
  assert.match(renderAll({ type: 'result', is_error: true, result: 'limit' }), /✗ limit/);
});

test('nothing an agent writes can act on the terminal', () => {
  const evil = '\x1b]0;owned\x07\x1b[2J\u009b31m\u202e\rfine\n\tend\x7f';
  const shown = renderAll(
    assistant({ type: 'text', text: evil }, { type: 'tool_use', name: evil, input: { command: evil } }),
  );
  assert.doesNotMatch(shown.replace(/[\n\t]/g, ''), /[\p{Cc}\u202e]/u);
  assert.match(harmless(evil), /^␛\]0;owned␇␛\[2J.31m.␍fine\n\tend.$/u);
});

test('lines, tables and clipping', () => {
  assert.equal(oneLine('a\n b\t c', 10), 'a b c');
  assert.equal(oneLine('abcdef', 4), 'abc…');
  assert.deepEqual(
    table([
      ['a', 'b'],
      ['long', 'c'],
    ]),
    ['a     b', 'long  c'],
  );
  assert.deepEqual(table([]), []);
});

test('a JSON line keeps the data as it came', () => {
  assert.equal(
    jsonLine({ seq: 3, event: 'message', text: '{"b":1.0,  "a":"é"}' }),
    '{"seq":3,"event":"message","data":{"b":1.0,  "a":"é"}}\n',
  );
  assert.equal(
    jsonLine({ seq: undefined, event: 'x', text: 'not json' }),
    '{"event":"x","data":"not json"}\n',
  );
});

test('what an ACP agent says is joined, and its tools have a line each', () => {
  const update = (sessionUpdate: string, more: object) => ({
    sessionId: 's',
    update: { sessionUpdate, ...more },
  });
  const says = (text: string) => update('agent_message_chunk', { content: { type: 'text', text } });
  const content = [{ type: 'content', content: { type: 'text', text: 'ok\nmore' } }];
  const renderer = createMessageRenderer(plain);
  const shown = [
    update('available_commands_update', { availableCommands: [] }),
    says('I '),
    says('will\u001b[2J.'),
    update('tool_call', { toolCallId: '1', title: 'Write a.md', status: 'pending' }),
    update('tool_call_update', { toolCallId: '1', status: 'in_progress' }),
    update('tool_call_update', { toolCallId: '1', status: 'completed', content }),
    update('tool_call_update', { toolCallId: '2', status: 'failed' }),
    says('Done.'),
  ].map((message) => renderer.render(message));
  assert.equal(
    shown.join('') + renderer.closeLine() + renderer.closeLine(),
    ['I will␛[2J.', '● Write a.md', '  ⎿ ok (+1 lines)', '  ⎿ failed', 'Done.', ''].join('\n'),
  );
});

test('what Codex says is shown once, and its tools have a line each', () => {
  const told = (method: string, params: object) => ({ method, params });
  const item = (state: string, type: string, more: object) =>
    told(`item/${state}`, { item: { type, ...more } });
  const renderer = createMessageRenderer(plain);
  const shown = [
    told('turn/started', { turn: {} }),
    told('item/agentMessage/delta', { delta: 'I ' }),
    told('item/agentMessage/delta', { delta: 'will\u001b[2J.' }),
    item('completed', 'agentMessage', { text: 'I will.' }),
    item('started', 'commandExecution', { command: 'ls' }),
    item('completed', 'commandExecution', { status: 'completed', aggregatedOutput: 'a\nb\n' }),
    item('started', 'fileChange', { changes: [{ path: 'a.md' }] }),
    item('completed', 'fileChange', { status: 'declined' }),
    item('started', 'mcpToolCall', { server: 's', tool: 't' }),
    item('completed', 'agentMessage', { text: 'Done.' }),
    told('error', { error: { message: 'Reconnecting' } }),
    told('item/started', {}),
  ].map((message) => renderer.render(message));
  assert.equal(
    shown.join(''),
    [
      'I will␛[2J.',
      '● shell ls',
      '  ⎿ a (+1 lines)',
      '● apply_patch a.md',
      '  ⎿ declined',
      '● mcp__s__t',
      'Done.',
      'Reconnecting',
      '',
    ].join('\n'),
  );
});
