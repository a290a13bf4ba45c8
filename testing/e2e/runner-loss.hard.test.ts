/** A runner that is lost: by a kill, and by a coordinator that does not hear of it for longer than its lease. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { StreamEvent } from '@atoll/client';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll, until } from '../atoll.ts';
import { type Ask, createAsk } from '../raw-http.ts';
import { type RunnerProcess, startRunner } from '../runner-process.ts';

let atoll: Atoll;
let first: RunnerProcess;
before(async () => {
  atoll = await startAtoll({ args: ['--no-runner'] });
  first = await startRunner(atoll, 'first');
  await deployProgram(atoll.client, 'versatile', versatile);
});
after(async () => {
  // Not by a kill, whose leftovers only a next one would sweep.
  await first.stop();
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

test('not heard of for too long: it stands still before its session may go elsewhere, and is told to drop it', {
  timeout: 90_000,
}, async () => {
  await first.kill();
  first = await startRunner(atoll, 'first');
  const ask: Ask = createAsk({ url: first.url, key: first.callbackToken });
  const { id, turn } = await runningSession();
  turn.catch(() => undefined);
  const count = 'i=0; while :; do i=$((i+1)); echo $i > count; sleep 0.1; done';
  await atoll.client.call('session.exec', { sessionId: id, command: `(${count}) > /dev/null 2>&1 &` });
  const counted = async () => Number((await ask('GET', `/runner/sandboxes/${id}/files/count`)).text);
  await until(async () => (await counted()) > 2);
  process.kill(atoll.pid, 'SIGSTOP');
  try {
    // Its last heartbeat may be five seconds old.
    await delay(6_500);
    const before = await counted();
    await delay(500);
    assert.ok((await counted()) > before, 'its lease still runs');
    await delay(7_000);
    const frozen = await counted();
    await delay(1_000);
    assert.equal(await counted(), frozen, 'nothing of it runs');
    await delay(5_000);
  } finally {
    process.kill(atoll.pid, 'SIGCONT');
  }
  await until(async () => (await show(id)).cause === 'runner_lost', 20_000);
  await until(async () => {
    const { body } = await ask('GET', '/runner/sandboxes');
    return (body as { sandboxes?: unknown[] }).sandboxes?.length === 0;
  }, 20_000);
  assert.deepEqual(saidBy(await send(id, 'recall')), { type: 'recalled', text: 'the sea' });
});

test('held still for longer than its lease: it comes back without what went on elsewhere, and takes more', {
  timeout: 90_000,
}, async () => {
  const { client } = atoll;
  await using third = await startRunner(atoll, 'third', { args: ['--label', 'zone=third'] });
  const asked = { wait: true, demands: { labels: { zone: 'third' } } };
  const { sandbox } = await client.call('sandbox.create', asked);
  const statusOf = async () => (await client.call('runner.show', { runnerId: third.id })).runner.status;
  process.kill(third.pid, 'SIGSTOP');
  try {
    await until(async () => (await statusOf()) === 'lost', 30_000);
  } finally {
    process.kill(third.pid, 'SIGCONT');
  }
  await until(async () => (await statusOf()) === 'available');
  const { sandbox: next } = await client.call('sandbox.create', asked);
  const { exitCode } = await client.call('sandbox.exec', { sandboxId: next.id, command: 'true' });
  assert.equal(exitCode, 0);
  const old = await client.call('sandbox.show', { sandboxId: sandbox.id });
  assert.deepEqual([old.sandbox.status, old.sandbox.cause], ['ended', 'runner_lost']);
});
