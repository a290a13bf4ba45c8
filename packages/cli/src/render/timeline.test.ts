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
    isSnapshot: (seq) => seq === 5,
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
    '      5  2026-01-01 10:00:04  ◆ snapshot',
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
      '      1  2026-01-01 10:00:00  ● one  1 event, interrupted: Over. (forked)',
      '      3  2026-01-01 10:00:02  ● (1 content blocks)  1 event, running',
    ],
  );
  const [paused] = draw([
    ['status', { status: 'paused', cause: 'idle', detail: 'Nothing\u001b[2J happened.' }],
  ]);
  assert.equal(paused, '      1  2026-01-01 10:00:00  ○ paused: Nothing␛[2J happened. (idle)');
});

test('whatever the log holds, a line is a line', () => {
  const odd: [string, unknown][] = [
    ['input', null],
    ['done', 'x'],
    ['status', {}],
    ['error', {}],
    ['strange', 1],
  ];
  for (const line of draw([...odd, input('a', 'x'.repeat(500)), done('a', { status: 'completed' })], 80))
    assert.ok(line.length <= 80 && !line.includes('\n'), line);
});
