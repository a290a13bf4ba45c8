import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import type { CommandEvent, CreateSandbox, RunnerLink, SandboxEnded } from '@atoll/protocol/runner-link';
import { createHeldLink } from './held-link.ts';

const never = new AbortController().signal;
const start = { after: 0, signal: never };

/** A runner whose commands say one thing and end, and that writes down what it is asked. */
function setUp() {
  const asked: string[] = [];
  let held: Promise<void> | undefined;
  /** Deletions wait from now on, until what it returns is called. */
  const hold = () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    held = promise;
    return resolve;
  };
  let refusal: Error | undefined;
  const refuse = (error: Error | undefined) => {
    refusal = error;
  };
  let end: (ended: SandboxEnded) => void = () => assert.fail('nobody listens');
  async function* events(): AsyncGenerator<CommandEvent> {
    yield { kind: 'log', text: 'a', line: 1 };
    yield { kind: 'end', status: 'completed', line: 2 };
  }
  const runner: Pick<
    RunnerLink,
    'runnerId' | 'createSandbox' | 'deleteSandbox' | 'command' | 'onSandboxEnded'
  > = {
    runnerId: 'run_a',
    async createSandbox({ jobId }) {
      asked.push(`create ${jobId}`);
      if (refusal) throw refusal;
    },
    async deleteSandbox({ sandboxId, keep }) {
      asked.push(`delete ${sandboxId} ${keep}`);
      await held;
    },
    command: ({ commandId }) => {
      asked.push(`command ${commandId}`);
      return events();
    },
    onSandboxEnded: (listener) => {
      end = listener;
    },
  };
  const link = createHeldLink(runner as RunnerLink);
  const ended = (sandboxId: string) => end({ sandboxId, epoch: 1, cause: 'oom', detail: 'too much' });
  return { link, asked, ended, refuse, hold };
}

function creation(name: string, epoch = 1, workspaceId = `ws_${name}`): CreateSandbox {
  const executor = { profile: 'program' };
  const sandbox = { id: `sbx_${name}`, tenant: 't', workspaceId, fresh: true, executor, env: {} };
  return { jobId: `job_${name}`, epoch, sandbox };
}

function query(commandId: string, epoch = 1) {
  const command = { method: 'query', params: { turnId: commandId, content: '', options: {} } } as const;
  return { sandboxId: 'sbx_a', epoch, commandId, command };
}

test('the same command again is the one that runs or ran, until its end is acknowledged', async () => {
  const { link, asked } = setUp();
  await link.createSandbox(creation('a'));
  assert.equal((await Array.fromAsync(link.command(query('turn_1'), start))).length, 2);
  const again = link.command(query('turn_1'), { after: 1, signal: never });
  assert.deepEqual(
    (await Array.fromAsync(again)).map(({ kind }) => kind),
    ['end'],
  );
  link.acknowledge({ sandboxId: 'sbx_a', commandId: 'turn_2', line: 2 });
  link.attach({ sandboxId: 'sbx_a', commandId: 'turn_1' }, start);
  link.acknowledge({ sandboxId: 'sbx_a', line: 2 });
  assert.throws(() => link.attach({ sandboxId: 'sbx_a', commandId: 'turn_1' }, start), { code: 'not_found' });
  assert.deepEqual(asked, ['create job_a', 'command turn_1']);
});

test('a command that comes again after its end was acknowledged does not begin again', async () => {
  const { link, asked } = setUp();
  await link.createSandbox(creation('a'));
  await Array.fromAsync(link.command(query('turn_1'), start));
  link.acknowledge({ sandboxId: 'sbx_a', commandId: 'turn_1', line: 2 });
  assert.throws(() => link.command(query('turn_1'), start), { code: 'invalid_cursor' });
  await Array.fromAsync(link.command(query('turn_2'), start));
  assert.deepEqual(asked, ['create job_a', 'command turn_1', 'command turn_2']);
});

test('nobody goes on after a line that did not come yet', async () => {
  const { link, asked } = setUp();
  await link.createSandbox(creation('a'));
  const ahead = { after: 3, signal: never };
  assert.throws(() => link.command(query('turn_1'), { ...ahead, after: 1 }), { code: 'invalid_cursor' });
  assert.deepEqual(asked, ['create job_a']);
  await Array.fromAsync(link.command(query('turn_1'), start));
  assert.throws(() => link.command(query('turn_1'), ahead), { code: 'invalid_cursor' });
  const of = { sandboxId: 'sbx_a', commandId: 'turn_1' };
  assert.throws(() => link.attach(of, ahead), { code: 'invalid_cursor' });
  assert.deepEqual(await Array.fromAsync(link.attach(of, { ...ahead, after: 2 })), []);
});

test('an assignment that is gone, or could not be made, is not made again when it is asked for late', async () => {
  const { link, asked, refuse } = setUp();
  await link.createSandbox(creation('a'));
  await link.deleteSandbox({ sandboxId: 'sbx_a', workspaceId: 'ws_a', epoch: 1, cause: 'ended', keep: true });
  await assert.rejects(link.createSandbox(creation('a')), { code: 'sandbox_failed' });
  refuse(new AtollError('no_capacity'));
  await assert.rejects(link.createSandbox(creation('b')), { code: 'no_capacity' });
  refuse(undefined);
  await assert.rejects(link.createSandbox(creation('b')), { code: 'no_capacity' });
  await link.createSandbox({ ...creation('b', 2), jobId: 'job_b' });
  assert.deepEqual(asked, ['create job_a', 'delete sbx_a true', 'create job_b', 'create job_b']);
});

test('an older epoch is refused, and a later one takes the place of the one before', async () => {
  const { link, asked } = setUp();
  await link.createSandbox(creation('a', 2, 'ws'));
  assert.throws(() => link.command(query('turn_1'), start), { code: 'stale_epoch' });
  await assert.rejects(link.createSandbox(creation('old', 1, 'ws')), { code: 'stale_epoch' });
  await link.createSandbox(creation('b', 3, 'ws'));
  assert.deepEqual(asked, ['create job_a', 'delete sbx_a true', 'create job_b']);
  assert.deepEqual(
    link.inventory().map(({ id, epoch, status }) => [id, epoch, status]),
    [['sbx_b', 3, 'ready']],
  );
});

test('another attempt at a job is another assignment: what the one before made goes', async () => {
  const { link, asked } = setUp();
  await link.createSandbox(creation('a'));
  await link.createSandbox(creation('a', 2));
  await assert.rejects(link.createSandbox(creation('a')), { code: 'stale_epoch' });
  assert.deepEqual(asked, ['create job_a', 'delete sbx_a true', 'create job_a']);
  assert.deepEqual(
    link.inventory().map(({ id, epoch, status }) => [id, epoch, status]),
    [['sbx_a', 2, 'ready']],
  );
});

test('an older epoch is refused after the later assignment ended by itself, too', async () => {
  const { link, asked, ended } = setUp();
  await link.createSandbox(creation('b', 2, 'ws'));
  ended('sbx_b');
  for (const heard of [[], ['sbx_b']]) {
    link.acknowledgeEnded(heard);
    await assert.rejects(link.createSandbox(creation('a', 1, 'ws')), { code: 'stale_epoch' });
  }
  assert.deepEqual(asked, ['create job_b']);
});

test('an older epoch deletes nothing, whether the sandbox is made yet, works, or ended', {
  timeout: 5_000,
}, async () => {
  const { link, asked, ended, hold } = setUp();
  const old = { sandboxId: 'sbx_b', workspaceId: 'ws', epoch: 1, cause: 'ended', keep: true };
  const refused = () => assert.rejects(link.deleteSandbox(old), { code: 'stale_epoch' });
  await link.createSandbox(creation('a', 1, 'ws'));
  const letGo = hold();
  const made = link.createSandbox(creation('b', 2, 'ws'));
  await refused();
  letGo();
  await made;
  await refused();
  ended('sbx_b');
  await refused();
  assert.equal(link.ended().length, 1);
  assert.deepEqual(asked, ['create job_a', 'delete sbx_a true', 'create job_b']);
});

test('an older epoch gets no snapshot of the files that a later one left, and does not remove them', async () => {
  const { link, asked } = setUp();
  await link.createSandbox(creation('a', 2, 'ws'));
  const of = { sandboxId: 'sbx_a', workspaceId: 'ws', cause: 'ended' };
  await link.deleteSandbox({ ...of, epoch: 2, keep: true });
  const older = { workspaceId: 'ws', tenant: 't', epoch: 1, base: null };
  await assert.rejects(link.snapshot(older), { code: 'stale_epoch' });
  await assert.rejects(link.deleteSandbox({ ...of, sandboxId: 'ws', epoch: 1, keep: false }), {
    code: 'stale_epoch',
  });
  await link.deleteSandbox({ ...of, sandboxId: 'ws', epoch: 2, keep: false });
  assert.deepEqual(asked, ['create job_a', 'delete sbx_a true', 'delete ws false']);
});

test('an assignment that waits for the one before to go can be seen, and taken back', async () => {
  const { link, asked, hold } = setUp();
  await link.createSandbox(creation('a', 1, 'ws'));
  const letGo = hold();
  const made = link.createSandbox(creation('b', 2, 'ws'));
  const again = assert.rejects(link.createSandbox(creation('b', 2, 'ws')), { code: 'sandbox_failed' });
  assert.deepEqual(
    link.inventory().map(({ id, status }) => [id, status]),
    [
      ['sbx_a', 'ready'],
      ['sbx_b', 'starting'],
    ],
  );
  const refused = assert.rejects(made, { code: 'sandbox_failed' });
  const removed = link.deleteSandbox({
    ...{ sandboxId: 'sbx_b', workspaceId: 'ws', epoch: 2, cause: 'ended', keep: true },
  });
  letGo();
  await Promise.all([removed, refused, again]);
  assert.deepEqual(asked, ['create job_a', 'delete sbx_a true', 'delete sbx_b true']);
  assert.deepEqual(link.inventory(), []);
});

test('an assignment that is on its way out is not made again when it is asked for late', async () => {
  const { link, asked, hold } = setUp();
  await link.createSandbox(creation('a'));
  const letGo = hold();
  const removed = link.deleteSandbox({
    ...{ sandboxId: 'sbx_a', workspaceId: 'ws_a', epoch: 1, cause: 'ended', keep: true },
  });
  await assert.rejects(link.createSandbox(creation('a')), { code: 'sandbox_failed' });
  letGo();
  await removed;
  assert.deepEqual(asked, ['create job_a', 'delete sbx_a true']);
});

test('what ended is told until somebody heard it; its commands are there until they are acknowledged', async () => {
  const { link, ended } = setUp();
  let told = 0;
  link.onEnded(() => told++);
  await link.createSandbox(creation('a'));
  await Array.fromAsync(link.command(query('turn_1'), start));
  ended('sbx_a');
  assert.equal(told, 1);
  assert.equal(link.ended()[0]?.cause, 'oom');
  assert.deepEqual(link.inventory(), [
    { id: 'sbx_a', epoch: 1, status: 'ended', lastLine: 2, commands: ['turn_1'] },
  ]);
  await assert.rejects(link.createSandbox(creation('a')), { code: 'sandbox_failed' });
  link.acknowledgeEnded(['sbx_a']);
  assert.deepEqual(link.ended(), []);
  assert.equal((await Array.fromAsync(link.command(query('turn_1'), start))).length, 2);
  link.acknowledge({ sandboxId: 'sbx_a', commandId: 'turn_1', line: 2 });
  assert.deepEqual(link.inventory(), []);
});

test('sandboxes whose end nobody asks for are forgotten, the oldest first', async () => {
  const { link, ended } = setUp();
  for (let n = 0; n < 300; n++) {
    await link.createSandbox(creation(String(n)));
    ended(`sbx_${n}`);
  }
  assert.equal(link.ended().length, 256);
  assert.equal(link.ended()[0]?.sandboxId, 'sbx_44');
});

test('an assignment that was ended before it was asked for does not begin', async () => {
  const { link, asked } = setUp();
  await link.deleteSandbox({ sandboxId: 'sbx_a', workspaceId: 'ws_a', epoch: 1, cause: 'ended', keep: true });
  await assert.rejects(link.createSandbox(creation('a')), { code: 'sandbox_failed' });
  await link.createSandbox({ ...creation('a', 2), jobId: 'job_again' });
  assert.deepEqual(asked, ['delete sbx_a true', 'create job_again']);
});
