/**
 * The disk fails at each step of a snapshot and of a restoration: that is told with its reason, nothing stands still
 * afterwards, the snapshot before it stays whole, nothing temporary is left, and the next one works.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from '../atoll.ts';
import type { Fault } from '../fs-faults.ts';
import { openStage, restoringSteps, type Stage, takingSteps } from '../snapshot-steps.ts';

const errors = ['EIO', 'ENOSPC', 'EMFILE'] as const;
/** Which of them is a step's turn by turn: the code paths differ by the step, and not by the error. */
const errorOf = (n: number): Fault['act'] => errors[n % errors.length] ?? 'EIO';

let stage: Stage;
before(async () => {
  stage = await openStage(['--capacity', '4']);
});
after(() => stage[Symbol.asyncDispose]());

const told = (id: string) =>
  until(async () => {
    const { events } = await stage.atoll.client.call('session.events', { sessionId: id, limit: 1000 });
    return events.findLast(({ event }) => event === 'error')?.data as { code: string; detail: string };
  });

for (const [n, [name, step]] of Object.entries(takingSteps).entries()) {
  // A second try to go on helps, and then nothing failed.
  if (name === 'going on') continue;
  test(`a snapshot, ${errorOf(n)}: ${name}`, async () => {
    const { atoll, faults, say } = stage;
    const id = await stage.begin();
    faults.set({ ...step, act: errorOf(n) });
    await atoll.client.call('session.exec', {
      sessionId: id,
      command: 'head -c 99 /dev/urandom > new && ln -s new newer',
    });
    await say(id, 'remember second');
    await until(async () => faults.met());
    const { code, detail } = await told(id);
    assert.equal(code, 'snapshot_failed');
    assert.match(detail, /could not be kept: ./);
    assert.doesNotMatch(detail, /inside Atoll/);
    assert.deepEqual(await stage.temporaryFiles(), []);
    const { snapshots } = await atoll.client.call('session.snapshots.list', { sessionId: id });
    assert.deepEqual(
      snapshots.slice(-2).map(({ status, cause }) => [status, cause !== null]),
      [
        ['complete', false],
        ['failed', true],
      ],
    );
    // Its processes run, and the next one works.
    await stage.assertWhole(id, 'second');
    await stage.loseFiles(id);
    await stage.assertWhole(id, 'second');
    await atoll.client.call('session.end', { sessionId: id });
  });
}

test('what cannot be told to go on at once goes on a moment later', async () => {
  const { atoll, faults, say } = stage;
  const id = await stage.begin();
  faults.set({ call: 'SIGCONT', nth: 1, act: 'EMFILE' });
  await atoll.client.call('session.exec', { sessionId: id, command: 'head -c 99 /dev/urandom > new' });
  await say(id, 'remember second');
  await until(async () => faults.met());
  await stage.assertWhole(id, 'second');
  const { events } = await atoll.client.call('session.events', { sessionId: id, limit: 1000 });
  assert.deepEqual(
    events.filter(({ event }) => event === 'error'),
    [],
  );
  await stage.loseFiles(id);
  await stage.assertWhole(id, 'second');
  await atoll.client.call('session.end', { sessionId: id });
});

for (const [n, [name, step]] of Object.entries(restoringSteps).entries()) {
  test(`a restoration, ${errorOf(n)}: ${name}`, async () => {
    const { atoll, faults } = stage;
    const id = await stage.begin();
    await stage.loseFiles(id);
    const before = (await atoll.client.call('session.show', { sessionId: id })).session.lastSeq;
    faults.set({ ...step, act: errorOf(n) });
    const failed = await atoll.client.call('session.resume', { sessionId: id }).then(
      () => undefined,
      (error: Error & { code?: string }) => error,
    );
    assert.ok(faults.met(), name);
    assert.match(failed?.code ?? '', /^(sandbox_failed|snapshot_failed|storage_failed)$/);
    assert.ok((failed?.message.length ?? 0) > 10, failed?.message);
    const { session } = await atoll.client.call('session.show', { sessionId: id });
    assert.equal(session.status, 'paused');
    assert.ok(session.lastSeq > before && session.cause, 'and why');
    assert.deepEqual(await stage.temporaryFiles(), []);
    await stage.assertWhole(id, 'first');
    await atoll.client.call('session.end', { sessionId: id });
  });
}
