/** A runner that is killed: what it held ends, and its sessions go on elsewhere. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { StreamEvent } from '@atoll/client';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll, until } from '../atoll.ts';
import { type RunnerProcess, startRunner } from '../runner-process.ts';

let atoll: Atoll;
let first: RunnerProcess;
before(async () => {
  atoll = await startAtoll({ args: ['--no-runner'] });
  first = await startRunner(atoll, 'first');
  await deployProgram(atoll.client, 'versatile', versatile);
});
after(async () => {
  await first.kill();
  await atoll[Symbol.asyncDispose]();
});

const send = (sessionId: string, content: string): Promise<StreamEvent[]> =>
  Array.fromAsync(atoll.client.send(sessionId, { content }));
const show = async (sessionId: string) => (await atoll.client.call('session.show', { sessionId })).session;
const doneOf = (events: readonly StreamEvent[]) => JSON.parse(events.at(-1)?.text ?? '{}');
const saidBy = (events: readonly StreamEvent[]) =>
  JSON.parse(events.find(({ event }) => event === 'message')?.text ?? '{}');

async function runningSession(): Promise<{ id: string; turn: Promise<StreamEvent[]> }> {
  const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
  const { id } = session;
  await send(id, 'remember the sea');
  const turn = send(id, 'wait');
  await until(async () => (await show(id)).status === 'running');
  return { id, turn };
}

test('killed: the turn ends interrupted within 20 s, and the session goes on elsewhere', {
  timeout: 60_000,
}, async () => {
  const { id, turn } = await runningSession();
  const { sandbox } = await atoll.client.call('sandbox.create', { wait: true });
  await using second = await startRunner(atoll, 'second');
  const killedAt = Date.now();
  await first.kill();
  const done = doneOf(await turn);
  assert.deepEqual([done.status, done.cause], ['interrupted', 'runner_lost']);
  assert.ok(Date.now() - killedAt < 20_000, `${Date.now() - killedAt} ms`);
  assert.equal((await show(id)).status, 'paused');
  const { runner } = await atoll.client.call('runner.show', { runnerId: first.id });
  assert.equal(runner.status, 'lost');
  const bare = await until(async () => {
    const found = await atoll.client.call('sandbox.show', { sandboxId: sandbox.id });
    return found.sandbox.status === 'ended' && found.sandbox;
  });
  assert.equal(bare.cause, 'runner_lost');
  assert.deepEqual(saidBy(await send(id, 'recall')), { type: 'recalled', text: 'the sea' });
  assert.equal((await show(id)).runnerId, second.id);
  await atoll.client.call('session.end', { sessionId: id });
});
