import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createStyle } from '../terminal.ts';
import { createTimeline, type TimelineEvent } from './timeline.ts';

const forkAt = (seq: number) => ({
  id: `ses_${seq}`,
  status: 'paused' as const,
  parent: { sessionId: 'ses', seq },
});

function draw(events: readonly [string, unknown][], columns = 100): string[] {
  const timeline = createTimeline({
    style: createStyle(false),
    columns,
    forks: [forkAt(5), forkAt(4)],
    snapshots: new Map([[5, { files: 12, storedBytes: 3100 }]]),
  });
  const lines = events.flatMap(([event, data], at) => {
    const time = `2026-01-01T10:00:0${at}.500Z`;
    return timeline.push({ seq: at + 1, time, event, data } satisfies TimelineEvent);
  });
  return [...lines, ...timeline.end()];
}

const input = (turnId: string, content: unknown): [string, unknown] => ['input', { turnId, content }];
const running = (turnId: string): [string, unknown] => ['status', { status: 'running', turnId }];
const message: [string, unknown] = ['message', { type: 'text' }];
const done = (turnId: string, end: object): [string, unknown] => ['done', { turnId, ...end }];

test('turns with their events and time, snapshots and forks where they are', () => {
  const lines = draw([
    input('a', 'hello\nthere'),
    running('a'),
    message,
    message,
    done('a', { status: 'completed' }),
  ]);
  assert.deepEqual(lines, [
    '      4  2026-01-01 10:00:03  ├─ forked as ses_4 (paused)',
    '      1  2026-01-01 10:00:00  ● hello there  2 events, 4.0 s',
    '      5  2026-01-01 10:00:04  ◆ snapshot 12 files, 3.0 KiB new',
    '      5  2026-01-01 10:00:04  ├─ forked as ses_5 (paused)',
  ]);
});

test('what is not over, what did not complete, and why the session stopped', () => {
  const interrupted = { status: 'interrupted', cause: 'forked', detail: 'Over.' };
  const lines = draw([
    ...[input('a', 'one'), running('a'), input('b', [{ type: 'image' }]), message],
    ['status', { status: 'waiting' }],
    ...[done('a', interrupted), running('b'), message],
  ]);
  assert.deepEqual(
    lines.filter((line) => line.includes('●')),
    [
      '      1  2026-01-01 10:00:00  ● one  1 event, 5.0 s, interrupted: Over. (forked)',
      '      3  2026-01-01 10:00:02  ● (1 content blocks)  1 event, running',
    ],
  );
  const idle = { status: 'paused', cause: 'idle', detail: 'Nothing\u001b[2J happened.' };
  assert.deepEqual(draw([['status', idle]]), [
    '      1  2026-01-01 10:00:00  ○ paused: Nothing␛[2J happened. (idle)',
  ]);
  assert.deepEqual(draw([['status', idle]], 80), [
    '      1  01-01 10:00:00  ○ paused: Nothing␛[2J happened. (idle)',
  ]);
});

const use = (name: string) => ({ type: 'tool_use', name });
const tools: [executor: string, messages: unknown[], told: string][] = [
  [
    'claude',
    [
      { type: 'assistant', message: { content: [use('Read'), { type: 'text' }, use('Bash')] } },
      { type: 'assistant', message: { content: [use('Bash')] } },
      { type: 'user', message: { content: [use('Bash')] } },
    ],
    'Bash ×2, Read',
  ],
  [
    'an ACP agent',
    [
      { update: { sessionUpdate: 'tool_call', kind: 'edit', title: 'Edit a.ts' } },
      { update: { sessionUpdate: 'tool_call', title: 'Look' } },
      { update: { sessionUpdate: 'tool_call_update', kind: 'edit' } },
    ],
    'edit, Look',
  ],
  [
    'codex',
    [
      { method: 'item/started', params: { item: { type: 'commandExecution', command: 'ls' } } },
      { method: 'item/completed', params: { item: { type: 'commandExecution', command: 'ls' } } },
      { method: 'item/started', params: { item: { type: 'reasoning' } } },
    ],
    'shell',
  ],
  [
    'whoever makes names up',
    'abcdefgh'.split('').map((name) => ({ type: 'assistant', message: { content: [use(name)] } })),
    'a, b, c, d, e, f, 2 other tools',
  ],
  ['nobody', [null, 'x', { type: 'assistant' }, { type: 'assistant', message: { content: [1] } }], ''],
];

for (const [executor, messages, told] of tools)
  test(`the tools of ${executor}`, () => {
    const events = messages.map((data): [string, unknown] => ['message', data]);
    const lines = draw([input('a', 'go'), ...events]);
    const about = lines.filter((line) => line.includes('│')).map((line) => line.trim());
    assert.deepEqual(about, told === '' ? [] : [`│ ${told}`]);
  });

test('what was asked, and what it cost', () => {
  const approval = (status: string, decision?: string): [string, unknown] => [
    'approval',
    { status, decision },
  ];
  const usage = { inputTokens: 1200, cacheReadTokens: 800, outputTokens: 34, costUsd: 0.01234 };
  const lines = draw([
    input('a', 'go'),
    ...[approval('requested'), approval('resolved', 'deny'), approval('requested')],
    done('a', { status: 'completed', usage }),
  ]);
  assert.ok(
    lines.includes(`${' '.repeat(30)}│ 2 approvals, 1 denied · 2.0k tokens in, 34 out, $0.0123`),
    lines.join('\n'),
  );
});

test('where a fork begins, and what was compacted', () => {
  const fork = { sessionId: 'ses_a', seq: 7, snapshotSeq: 5 };
  const lines = draw([
    ['status', { status: 'paused', cause: 'forked', fork }],
    ['status', { status: 'paused', fork: { ...fork, snapshotSeq: null } }],
    ['compacted', { from: 1, to: 9 }],
  ]);
  const texts = lines.map((line) => line.slice(30));
  assert.deepEqual(texts, [
    '╰─ forked from ses_a after event 7, with the files of event 5',
    '╰─ forked from ses_a after event 7, with the agent’s folder',
    '○ events 1 to 9 were compacted',
  ]);
});

test('whatever the log holds, a line is a line, and no wider than the terminal', () => {
  const long = 'x'.repeat(500);
  const odd: [string, unknown][] = [
    ['input', null],
    ['done', 'x'],
    ['status', {}],
    ['error', {}],
    ['error', { detail: `${long}\u001b` }],
    ['strange', 1],
    ['status', { status: 'paused', detail: long }],
    input('a', long),
    ['message', { type: 'assistant', message: { content: [use(long), use(`${long}y`), use(`z${long}`)] } }],
    done('a', { status: 'failed', detail: long }),
  ];
  for (const columns of [60, 80, 120])
    for (const line of draw(odd, columns))
      assert.ok(line.length <= columns && !line.includes('\n') && !line.includes('\u001b'), line);
});
