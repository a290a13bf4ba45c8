import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createGrpcLink, type RunnerStream } from './grpc-link.ts';

type Said = Parameters<RunnerStream['send']>[0];

function stream(): RunnerStream & { said: Said[] } {
  const said: Said[] = [];
  return { said, send: (message) => void said.push(message), end: () => undefined };
}

const sandbox = {
  id: 'sbx_1',
  sessionId: 'ses_1',
  epoch: 1,
  status: 'ready',
  lastLine: 3,
  commands: ['turn_1'],
};

test('who waits for what a runner holds hears that its connection broke, and asks again', {
  timeout: 5_000,
}, async () => {
  const link = createGrpcLink('one', () => undefined);
  const broken = stream();
  link.attach(broken);
  const asked = link.inventory();
  link.detach(broken);
  await assert.rejects(asked, { code: 'runner_unreachable' });
  const again = link.inventory();
  link.attach(stream());
  link.receive('inventory', { sandboxes: [sandbox] });
  assert.deepEqual(await again, [sandbox]);
});

test('decisions that no stream took reach the next one, of each sandbox its own', async () => {
  const link = createGrpcLink('one', () => undefined);
  for (const sandboxId of ['sbx_1', 'sbx_2'])
    await link.decide({ sandboxId, epoch: 1, requestId: '1', decision: { decision: 'allow' } });
  const next = stream();
  link.attach(next);
  const decided = next.said.flatMap((message) => ('approval' in message ? message.approval.sandboxId : []));
  assert.deepEqual(decided, ['sbx_1', 'sbx_2']);
});

/** A command that a runner is asked for: its first event, and what the runner says of it. */
function openCommand() {
  const link = createGrpcLink('one', () => undefined);
  link.attach(stream());
  const of = { sandboxId: 'sbx_1', epoch: 1, commandId: 'turn_1' };
  const command = { method: 'exec' as const, params: { command: 'x' } };
  const events = link.command({ ...of, command })[Symbol.asyncIterator]();
  const said = { ...of, cause: '', detail: '', executorSessionId: '', usage: Buffer.alloc(0) };
  const end = { ...said, status: 'completed', timedOut: false, sandboxEnded: false };
  return {
    link,
    first: events.next(),
    next: () => events.next(),
    batch: { ...of, bytes: Buffer.from('{}\n') },
    end,
  };
}

for (const [what, firstLine] of [
  ['a line that no log can number', 2 ** 53 + 2],
  ['a line before the first', 0],
] as const)
  test(`${what} ends the stream and its command, and nothing of it is kept`, async () => {
    const { link, first, batch } = openCommand();
    assert.throws(() => link.receive('eventBatch', { ...batch, firstLine }), { code: 'invalid_request' });
    await assert.rejects(first, { code: 'executor_failed' });
    link.receive('eventBatch', { ...batch, firstLine: 1 });
  });

test('what is said of another assignment than that of the command is not taken for its own', async () => {
  for (const epoch of [0, 2]) {
    const { link, first, batch } = openCommand();
    const other = { ...batch, epoch, firstLine: 1 };
    assert.throws(() => link.receive('eventBatch', other), { code: 'invalid_request' });
    await assert.rejects(first, { code: 'executor_failed' });
  }
});

test('usage that could not be written out again is refused', async () => {
  const { link, first, end } = openCommand();
  const usage = Buffer.from(`{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}`);
  assert.throws(() => link.receive('commandEnd', { ...end, line: 1, usage }), { code: 'invalid_request' });
  await assert.rejects(first, { code: 'executor_failed' });
});

test('a command whose end names no line of its own ends all the same', async () => {
  for (const line of [0, 1]) {
    const { link, first, next, batch, end } = openCommand();
    link.receive('eventBatch', { ...batch, firstLine: 1 });
    link.receive('eventBatch', { ...batch, firstLine: 1 });
    assert.equal((await first).value?.line, 1);
    const ended = assert.rejects(next(), { code: 'executor_failed' });
    assert.throws(() => link.receive('commandEnd', { ...end, line }), { code: 'invalid_request' });
    await ended;
  }
});

test('what would break the events of a reader is no message: a raw CR or NUL, invalid UTF-8', () => {
  const link = createGrpcLink('one', () => undefined);
  const batch = { sandboxId: 'sbx_1', epoch: 1, commandId: 'turn_1', firstLine: 1 };
  for (const inside of ['\r', '\0', '\xff']) {
    const bytes = Buffer.from(`{"a":"${inside}"}\n`, 'latin1');
    assert.throws(() => link.receive('eventBatch', { ...batch, bytes }), { code: 'invalid_request' });
  }
});

test('a snapshot of more than there can be is none', async () => {
  const link = createGrpcLink('one', () => undefined);
  const runner = stream();
  link.attach(runner);
  const taking = link.snapshot({ workspaceId: 'ses_1', tenant: 't', epoch: 1, base: null });
  const [asked] = runner.said;
  assert.ok(asked && 'job' in asked);
  const sizes = { files: 1, sizeBytes: 1, storedBytes: 2 ** 60, skipped: 0, firstSkipped: [] };
  const update = { epoch: 1, sandboxId: '', status: 'completed', cause: '', detail: '' };
  const snapshot = { root: 'a'.repeat(64), ...sizes };
  link.receive('jobUpdate', { ...update, jobId: `${asked.job.jobId}`, snapshot });
  await assert.rejects(taking, { code: 'snapshot_failed' });
});
