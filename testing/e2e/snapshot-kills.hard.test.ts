/**
 * kill -9 of the server at each step of a snapshot and of a restoration: nothing of it runs on, the snapshot before it is
 * whole (or the new one, once its row is there), what is left half written is bounded, and the next one works.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from '../atoll.ts';
import { killAndRestart } from '../crash.ts';
import {
  lateSteps,
  openStage,
  restoringSteps,
  type Stage,
  type Step,
  takingSteps,
} from '../snapshot-steps.ts';

/** Blobs that are written at a time. */
const MAX_HALF_WRITTEN = 4;

let stage: Stage;
before(async () => {
  stage = await openStage(['--capacity', '4']);
});
after(() => stage[Symbol.asyncDispose]());

async function diesAt(step: Step, work: () => Promise<unknown>): Promise<void> {
  const { atoll, faults } = stage;
  const left = (await stage.temporaryFiles()).length;
  const { pid } = atoll;
  faults.set({ ...step, act: 'kill' });
  const doomed = work().catch(() => undefined);
  await until(async () => faults.met(), 20_000);
  await until(async () => !isThere(pid));
  faults.clear();
  await killAndRestart(atoll);
  await doomed;
  assert.ok((await stage.temporaryFiles()).length <= left + MAX_HALF_WRITTEN);
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

const latest = async (sessionId: string) => {
  const { snapshots } = await stage.atoll.client.call('session.snapshots.list', { sessionId });
  return snapshots.findLast(({ status }) => status === 'complete')?.seq ?? 0;
};

for (const [name, step] of Object.entries({ ...takingSteps, ...lateSteps })) {
  test(`killed in a snapshot: ${name}`, async () => {
    const { atoll, say } = stage;
    const id = await stage.begin();
    const before = await latest(id);
    await diesAt(step, async () => {
      await atoll.client.call('session.exec', {
        sessionId: id,
        command: 'head -c 99 /dev/urandom > new && ln -s new newer',
      });
      await say(id, 'remember second');
    });
    const { session } = await atoll.client.call('session.show', { sessionId: id });
    assert.equal(session.status, 'paused');
    assert.ok(session.cause);
    const remembered = (await latest(id)) > before ? 'second' : 'first';
    await stage.loseFiles(id);
    await stage.assertWhole(id, remembered);
    await say(id, 'remember third');
    await stage.loseFiles(id);
    await stage.assertWhole(id, 'third');
    await atoll.client.call('session.end', { sessionId: id });
  });
}

for (const [name, step] of Object.entries(restoringSteps)) {
  test(`killed in a restoration: ${name}`, async () => {
    const { atoll, say } = stage;
    const id = await stage.begin();
    await stage.loseFiles(id);
    await diesAt(step, () => atoll.client.call('session.resume', { sessionId: id }));
    await stage.assertWhole(id, 'first');
    await say(id, 'remember second');
    await stage.loseFiles(id);
    await stage.assertWhole(id, 'second');
    await atoll.client.call('session.end', { sessionId: id });
  });
}
