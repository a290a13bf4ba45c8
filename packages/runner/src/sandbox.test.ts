import assert from 'node:assert/strict';
import { Duplex, PassThrough } from 'node:stream';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { CommandEvent } from '@atoll/protocol/runner-link';
import type { SandboxEndCause, SandboxExit, SandboxProcess } from './driver.ts';
import { createSandbox } from './sandbox.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };

type Handed = { listener?: Promise<object>; onListener?: (listener: object) => Promise<void> };

/** A sandbox whose bridge is the test: what it is asked, and what it writes. */
function openSandbox({ listener, onListener = async () => undefined }: Handed = {}) {
  const asked: Record<string, unknown>[] = [];
  const moved: string[] = [];
  const exit = Promise.withResolvers<SandboxExit>();
  const channel = new Duplex({
    read() {},
    write(chunk, _encoding, done) {
      asked.push(JSON.parse(String(chunk)));
      done();
    },
  });
  const kill = (cause: SandboxEndCause) =>
    exit.resolve({ cause, detail: `It ended: ${cause}.`, exitCode: null, signal: 'SIGKILL' });
  const process: SandboxProcess = {
    pid: 1,
    channel,
    output: new PassThrough(),
    exited: exit.promise,
    kill,
    freeze: async () => void moved.push('frozen'),
    thaw: async () => void moved.push('thawed'),
    usage: async () => ({ memoryBytes: 0, processes: 0 }),
    ...(listener && { listener }),
  };
  const sandbox = createSandbox({
    id: 'sbx_1',
    workspaceId: 'ws_1',
    epoch: 1,
    process,
    onListener,
    logger: silent,
  });
  return {
    sandbox,
    channel,
    asked,
    moved,
    /** `count` times the same message, in one piece. */
    say: (message: object, count = 1) =>
      channel.push(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`.repeat(count)),
    query: () => sandbox.command(command('query', { turnId: 't', content: '', options: {} })),
    exec: () => sandbox.command(command('exec', { command: 'x' })),
  };
}

function command(method: 'query' | 'exec', params: object) {
  return { sandboxId: 'sbx_1', epoch: 1, commandId: method, command: { method, params } } as Parameters<
    ReturnType<typeof createSandbox>['command']
  >[0];
}

async function collect(events: AsyncIterable<CommandEvent>): Promise<CommandEvent[]> {
  return Array.fromAsync(events);
}

test('a cancellation that overtakes its command ends it before it begins, and that one alone', async () => {
  const { sandbox, query, asked } = openSandbox();
  sandbox.cancel('query');
  const events = await collect(query());
  assert.deepEqual(
    events.map((event) => [event.kind, event.kind === 'end' && event.status, event.line]),
    [['end', 'interrupted', 1]],
  );
  assert.deepEqual(asked, []);
  query();
  assert.deepEqual(
    asked.map(({ method }) => method),
    ['query'],
  );
});

test('empty logs are neither kept without end nor read without a pause', async () => {
  const { channel, say, query, asked } = openSandbox();
  const events = query();
  say({ method: 'log', params: { text: '' } }, 20_000);
  say({ method: 'message', params: {} }, 20_000);
  await setImmediate();
  say({ id: asked[0]?.id, result: { status: 'completed' } });
  const kinds = (await collect(events)).map((event) => event.kind);
  assert.ok(kinds.filter((kind) => kind === 'log').length <= 2048);
  assert.equal(kinds.at(-1), 'end');
  assert.equal(channel.isPaused(), false);
});

test('an exec that writes what nobody takes is cancelled once', async () => {
  const { say, exec, asked } = openSandbox();
  const events = exec();
  say({ method: 'exec.output', params: { execId: 'exec', stream: 'stdout', text: '' } }, 200_000);
  await setImmediate();
  const cancels = asked.filter(({ method }) => method === 'exec.cancel');
  assert.equal(cancels.length, 1);
  assert.notEqual(cancels[0]?.id, undefined);
  const end = (await collect(events)).at(-1);
  assert.ok(end?.kind === 'end' && end.cause === 'output_not_read');
});

test('a bridge that asks the runner something is ended', async () => {
  const { sandbox, say, asked } = openSandbox();
  say({ id: 'x', method: 'anything' });
  const { cause, detail } = await sandbox.exited;
  assert.equal(cause, 'protocol_violation');
  assert.match(detail, /sent a request/);
  assert.deepEqual(asked, []);
});

test('an approval is told with the turn, and answered once; at its end nobody waits', async () => {
  const { sandbox, say, query, asked } = openSandbox();
  const events = query()[Symbol.asyncIterator]();
  const params = { turnId: 't', kind: 'tool', tool: 'Bash', input: { command: 'ls' }, options: ['allow'] };
  const replies = () => asked.filter(({ method }) => method === undefined);
  for (const id of ['a', 'b']) say({ id, method: 'approval.request', params });
  const { value } = await events.next();
  const { turnId: _, ...request } = params;
  assert.deepEqual(value, { kind: 'approval', requestId: '1', request, line: 1 });
  assert.deepEqual(replies(), []);
  sandbox.decide('1', { decision: 'allow' });
  sandbox.decide('1', { decision: 'deny' });
  sandbox.decide('9', { decision: 'deny' });
  await setImmediate();
  assert.deepEqual(replies(), [{ jsonrpc: '2.0', id: 'a', result: { decision: 'allow' } }]);
  say({ id: asked[0]?.id, result: { status: 'completed' } });
  await setImmediate();
  assert.deepEqual(replies()[1], { jsonrpc: '2.0', id: 'b', result: { decision: 'cancelled' } });
});

test('a turn that goes on after its interrupt ends its sandbox, and says so', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const { sandbox, query } = openSandbox();
  const events = query();
  sandbox.cancel('query');
  mock.timers.tick(10_000);
  assert.equal((await sandbox.exited).cause, 'interrupt_ignored');
  const end = (await collect(events)).at(-1);
  assert.ok(end?.kind === 'end' && end.cause === 'interrupt_ignored');
});

test('a bridge that never answers is not waited for, and is what the error names', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const { sandbox } = openSandbox();
  const coming = sandbox.initialize(
    { kind: 'program', command: ['x'] },
    { workspace: '/workspace', env: {}, timeoutMs: 60_000 },
  );
  mock.timers.tick(60_000);
  await assert.rejects(coming, { code: 'executor_failed', message: /did not answer within 60 s/ });
});

test('a sandbox that hands over something else than its listener is ended, and so is one whose listener is none', async () => {
  const refused = (detail: string) => Promise.reject(new AtollError('sandbox_failed', detail));
  for (const handed of [
    { listener: refused('that was something else') },
    { listener: Promise.resolve({}), onListener: () => refused('that was something else') },
  ]) {
    const { cause, detail } = await openSandbox(handed).sandbox.exited;
    assert.deepEqual([cause, detail], ['protocol_violation', 'that was something else']);
  }
});

test('who stands still for two reasons goes on when the last one is gone', async () => {
  const { sandbox, moved } = openSandbox();
  await sandbox.freeze('snapshot');
  await sandbox.freeze('lease');
  await sandbox.thaw('snapshot');
  assert.deepEqual(moved, ['frozen']);
  await sandbox.freeze('snapshot');
  await sandbox.thaw('lease');
  assert.deepEqual(moved, ['frozen']);
  await sandbox.thaw('snapshot');
  assert.deepEqual(moved, ['frozen', 'thawed']);
});

test('what is said between commands can be taken beforehand, and then does not come with the next', async () => {
  const { sandbox, query, say } = openSandbox();
  const message = (n: number) => ({ method: 'message', params: { n } });
  say(message(1), 2);
  await setImmediate();
  const said = sandbox.takeHeld();
  assert.deepEqual(
    said.map(({ line, messages }) => [line, messages.spans.length / 2]),
    [[2, 2]],
  );
  assert.deepEqual(sandbox.takeHeld(), []);
  say(message(2));
  await setImmediate();
  const [first] = await Array.fromAsync(take(query(), 1));
  assert.equal(first?.line, 3);
  assert.deepEqual(sandbox.takeHeld(), [], 'what a command says is its own');
});

async function* take(events: AsyncIterable<CommandEvent>, count: number): AsyncGenerator<CommandEvent> {
  let left = count;
  for await (const event of events) {
    yield event;
    left--;
    if (left === 0) return;
  }
}
