import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { CommandEvent, CommandOutput } from '@atoll/protocol/runner-link';
import { linesOf } from '../command-stream.ts';
import { createHeldCommand } from './held-command.ts';

const never = new AbortController().signal;
const end = { kind: 'end', status: 'completed' } as const;

/** Messages of that many bytes each. */
function messages(count: number, size = 4): CommandOutput {
  const spans = Uint32Array.from({ length: 2 * count }, (_, i) => size * Math.ceil(i / 2));
  return { kind: 'messages', messages: { bytes: new Uint8Array(count * size), spans } };
}

function setUp(outputs: readonly CommandOutput[]) {
  let line = 0;
  const state = { pulled: 0, settled: 0 };
  async function* events(): AsyncGenerator<CommandEvent> {
    for (const output of outputs) {
      state.pulled++;
      line += linesOf(output);
      yield { ...output, line };
    }
  }
  return { state, command: createHeldCommand(events(), () => state.settled++) };
}

async function linesFrom(events: AsyncIterable<CommandEvent>): Promise<number[]> {
  const all = await Array.fromAsync(events);
  return all.flatMap((event) => {
    const count = linesOf(event);
    return Array.from({ length: count }, (_, i) => event.line - count + 1 + i);
  });
}

test('whoever comes back after any line gets each later one once, in the middle of a batch too', async () => {
  const outputs = [messages(3), { kind: 'log', text: 'x' } as const, messages(2), end];
  const { command } = setUp(outputs);
  for (let after = 0; after <= 7; after++) {
    const expected = Array.from({ length: 7 - after }, (_, i) => after + 1 + i);
    assert.deepEqual(await linesFrom(command.read(after, never)), expected);
  }
});

test('a cut batch holds the messages that are left', async () => {
  const { command } = setUp([messages(3, 10), end]);
  const [first] = await Array.fromAsync(command.read(2, never));
  assert.ok(first?.kind === 'messages');
  assert.deepEqual([...first.messages.spans], [20, 30]);
});

test('it pulls no more than it may hold, and goes on when that was acknowledged', async () => {
  const MiB = 1024 * 1024;
  const { command, state } = setUp([...Array.from({ length: 20 }, () => messages(1, MiB)), end]);
  const reader = command.read(0, never)[Symbol.asyncIterator]();
  for (let n = 0; n < 4; n++) await reader.next();
  await setImmediate();
  assert.equal(state.pulled, 4);
  command.acknowledge(3);
  await setImmediate();
  assert.equal(state.pulled, 7);
  const rest: number[] = [];
  for (let next = await reader.next(); !next.done; next = await reader.next()) {
    rest.push(next.value.line);
    command.acknowledge(next.value.line);
  }
  assert.deepEqual(
    rest,
    Array.from({ length: 17 }, (_, i) => i + 5),
  );
});

test('the end is held until it is acknowledged, and what was acknowledged is gone', async () => {
  const { command, state } = setUp([messages(2), end]);
  assert.deepEqual(await linesFrom(command.read(0, never)), [1, 2, 3]);
  command.acknowledge(1);
  assert.deepEqual(await linesFrom(command.read(1, never)), [2, 3], 'a batch is held until all of it is had');
  command.acknowledge(2);
  assert.throws(() => command.read(1, never), { code: 'invalid_cursor' });
  assert.deepEqual([command.settled, state.settled], [false, 0]);
  command.acknowledge(3);
  command.acknowledge(3);
  assert.deepEqual([command.settled, state.settled], [true, 1]);
});

test('a reader that leaves is let go of while nothing comes', async () => {
  const next = Promise.withResolvers<void>();
  async function* silent(): AsyncGenerator<CommandEvent> {
    await next.promise;
    yield { ...end, line: 1 };
  }
  const command = createHeldCommand(silent(), () => undefined);
  const abort = new AbortController();
  const left = Array.fromAsync(command.read(0, abort.signal));
  const stays = Array.fromAsync(command.read(0, never));
  await setImmediate();
  abort.abort();
  assert.deepEqual(await left, []);
  next.resolve();
  assert.equal((await stays).length, 1);
});

test('what is acknowledged before it comes is not held, and the end of it settles the command', async () => {
  const { command, state } = setUp([messages(3), messages(2), end]);
  command.acknowledge(4);
  await setImmediate();
  assert.deepEqual(await linesFrom(command.read(4, never)), [5, 6]);
  assert.throws(() => command.read(2, never), { code: 'invalid_cursor' });
  const { command: dropped, state: settled } = setUp([messages(3), end]);
  dropped.acknowledge(Number.MAX_SAFE_INTEGER);
  await setImmediate();
  assert.deepEqual([state.settled, settled.settled, dropped.settled], [0, 1, true]);
});
