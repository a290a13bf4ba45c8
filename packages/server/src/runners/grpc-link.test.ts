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

test('a line that no log can number ends the stream, and nothing of it is kept', async () => {
  const link = createGrpcLink('one', () => undefined);
  link.attach(stream());
  const request = {
    sandboxId: 'sbx_1',
    epoch: 1,
    commandId: 'turn_1',
    command: { method: 'exec' as const, params: { command: 'x' } },
  };
  const events = link.command(request)[Symbol.asyncIterator]();
  const first = events.next();
  const batch = { sandboxId: 'sbx_1', epoch: 1, commandId: 'turn_1', bytes: Buffer.from('{}\n') };
  assert.throws(() => link.receive('eventBatch', { ...batch, firstLine: 2 ** 53 + 2 }), {
    code: 'invalid_request',
  });
  link.receive('eventBatch', { ...batch, firstLine: 1 });
  assert.equal((await first).value?.line, 1);
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
