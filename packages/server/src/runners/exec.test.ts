import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import type { CommandEvent, RunnerLink } from '@atoll/protocol/runner-link';
import { execIn } from './exec.ts';

/** A runner whose command is the test. */
function setUp({ cancelling = async () => {} }: { cancelling?: () => Promise<void> } = {}) {
  const events: CommandEvent[] = [
    { kind: 'output', stream: 'stdout', text: 'a', line: 1 },
    { kind: 'output', stream: 'stdout', text: 'b', line: 2 },
    { kind: 'end', status: 'completed', line: 3 },
  ];
  const acknowledged: number[] = [];
  const settled = Promise.withResolvers<void>();
  const abort = new AbortController();
  let cancels = 0;
  const link = {
    async *command() {
      yield* events;
    },
    acknowledge({ line }: { line: number }) {
      acknowledged.push(line);
      if (line === events.at(-1)?.line) settled.resolve();
    },
    cancel() {
      cancels++;
      return cancelling();
    },
  } as Partial<RunnerLink> as RunnerLink;
  const how = { signal: abort.signal, traceparent: '' };
  const reading = execIn(link, { sandboxId: 'sbx_1', epoch: 1 }, { command: 'x' }, how);
  return { reading, acknowledged, settled: settled.promise, abort, cancels: () => cancels };
}

test('a command that ended is not cancelled when its connection closes', async () => {
  const { reading, acknowledged, abort, cancels } = setUp();
  assert.equal((await Array.fromAsync(reading)).at(-1)?.kind, 'end');
  abort.abort();
  assert.deepEqual([cancels(), acknowledged], [0, [1, 2, 3]]);
});

test('one whose reader leaves is cancelled, and acknowledged to its end', async () => {
  const { reading, acknowledged, settled, cancels } = setUp();
  for await (const _ of reading) break;
  await settled;
  assert.deepEqual([cancels(), acknowledged], [1, [1, 2, 3]]);
});

test('one whose runner does not take the cancel goes on', async () => {
  const refuse = () => Promise.reject(new AtollError('shutting_down'));
  const { reading, abort, cancels } = setUp({ cancelling: refuse });
  const unhandled: unknown[] = [];
  const note = (error: unknown) => unhandled.push(error);
  process.on('unhandledRejection', note);
  try {
    abort.abort();
    assert.equal((await Array.fromAsync(reading)).length, 3);
    await new Promise(setImmediate);
  } finally {
    process.off('unhandledRejection', note);
  }
  assert.deepEqual([cancels(), unhandled], [1, []]);
});
