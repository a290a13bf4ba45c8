/** One process of Claude, with an SDK whose query says what the test lets it say. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ExecutorContext } from '../executor.ts';
import { createInput } from './claude-input.ts';
import { ClaudeProcess } from './claude-process.ts';

function startProcess() {
  const said = createInput<{ type: string; padding: string }>();
  const started = Promise.withResolvers<void>();
  const lines: string[] = [];
  const arrived = { next: Promise.withResolvers<void>() };
  const query = {
    [Symbol.asyncIterator]: () => said[Symbol.asyncIterator](),
    initializationResult: () => started.promise,
    close: () => undefined,
  };
  const context = {
    settings: { kind: 'claude' },
    workspace: '/workspace',
    env: {},
    output: {
      messages(line: string) {
        lines.push(line);
        arrived.next.resolve();
        arrived.next = Promise.withResolvers();
      },
      log: () => undefined,
    },
  };
  const process = new ClaudeProcess(
    { query: () => query } as unknown as typeof import('@anthropic-ai/claude-agent-sdk'),
    context as unknown as ExecutorContext,
    { launch: {}, model: undefined, session: { sessionId: 'x' }, spare: undefined },
  );
  const say = (type: string, padding = '') => said.push({ type, padding });
  return { process, say, started, lines, arrived: () => arrived.next.promise };
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

const typesOf = (lines: readonly string[]) =>
  lines.flatMap((line) => [...line.matchAll(/"type":"([^"]+)"/g)].map((m) => m[1]));
/** More than is passed on between turns. */
const much = 'x'.repeat(64 * 1024);

test('of what a process says between turns little is passed on, and more waits for the next one', async () => {
  const { process, say, lines } = startProcess();
  say('early');
  await settled();
  assert.deepEqual(typesOf(lines), ['early']);
  say('long', much);
  say('late');
  await settled();
  assert.deepEqual(typesOf(lines), ['early']);
  void process.run({ turnId: 't', content: 'hello', options: {} }, undefined);
  assert.deepEqual(typesOf(lines), ['early', 'long', 'late']);
});

test('a turn that waits for its process hears it while it starts', { timeout: 5_000 }, async () => {
  const { process, say, started, lines, arrived } = startProcess();
  say('held', much);
  await settled();
  let ready = false;
  const becoming = process.ready().then(() => {
    ready = true;
  });
  const first = arrived();
  process.awaited(true);
  await first;
  const second = arrived();
  say('at once');
  await second;
  assert.equal(ready, false);
  assert.deepEqual(typesOf(lines), ['held', 'at once']);
  process.awaited(false);
  say('nobody waits', much);
  await settled();
  assert.equal(lines.length, 2);
  started.resolve();
  await becoming;
});
