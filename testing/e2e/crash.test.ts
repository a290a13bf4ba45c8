/**
 * kill -9 of the server, and of sandboxes: nothing that a client saw is lost (I1), everything ends with a cause (I10),
 * and the next message goes on where the files and the conversation are. Many more kills: crash.hard.test.ts.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll, until } from '../atoll.ts';
import {
  assertKept,
  endsOf,
  killAndRestart,
  killSandboxes,
  readLog,
  watchEvents,
  watchTurn,
} from '../crash.ts';

/** From the kill of a sandbox to the client's hearing of it. */
const HEARD_MS = 2_000;

async function begun(atoll: Atoll): Promise<string> {
  await deployProgram(atoll.client, 'versatile', versatile);
  const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
  await say(atoll, session.id, 'remember the ferry');
  await atoll.client.call('session.exec', { sessionId: session.id, command: 'echo moored > ship.txt' });
  return session.id;
}

const say = (atoll: Atoll, id: string, content: string) =>
  Array.fromAsync(atoll.client.send(id, { content }));
const show = async (atoll: Atoll, id: string) =>
  (await atoll.client.call('session.show', { sessionId: id })).session;

/** Home and workspace are as they were. */
async function assertIntact(atoll: Atoll, id: string): Promise<void> {
  const events = await say(atoll, id, 'recall');
  assert.ok(events.some((event) => event.text.includes('the ferry')));
  assert.equal(await new Response(await atoll.client.readFile(id, 'ship.txt')).text(), 'moored\n');
}

test('kill -9 of the server in the middle of a turn', async () => {
  await using atoll = await startAtoll();
  const id = await begun(atoll);
  const witnesses = [watchEvents(atoll, id), watchTurn(atoll, id, 'emit 1000000 250')] as const;
  await until(async () => witnesses[1].seen.length > 3_000);
  await killAndRestart(atoll, witnesses);
  const { status, cause } = await show(atoll, id);
  assert.deepEqual([status, cause], ['paused', 'server_lost']);
  const log = await readLog(atoll, id);
  assertKept(log, witnesses);
  const last = endsOf(log).at(-1);
  assert.deepEqual([last?.status, last?.cause], ['interrupted', 'server_lost']);
  await assertIntact(atoll, id);
});

test('kill -9 of the server: when it says that it listens again, the turn has its end', async () => {
  await using atoll = await startAtoll();
  const id = await begun(atoll);
  const accepted = await fetch(`${atoll.url}/api/sessions/${id}/messages`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${atoll.key}`,
      'content-type': 'application/json',
      accept: 'application/json',
    },
    body: JSON.stringify({ content: 'wait' }),
  });
  assert.equal(accepted.status, 202);
  await atoll.kill();
  await atoll.restart();
  const database = new DatabaseSync(join(atoll.dataDir, 'atoll.db'), { readOnly: true });
  const turns = database.prepare('SELECT status, cause FROM turns ORDER BY id').all();
  database.close();
  assert.deepEqual({ ...turns.at(-1) }, { status: 'interrupted', cause: 'server_lost' });
});

test('a sandbox is killed in a turn: the client hears of it, the next message has a new one', async () => {
  await using atoll = await startAtoll();
  const id = await begun(atoll);
  const turn = say(atoll, id, 'wait');
  const before = await until(async () => {
    const session = await show(atoll, id);
    return session.turn !== null && session;
  });
  const killedAt = Date.now();
  await killSandboxes(atoll.pid);
  const events = await turn;
  assert.ok(Date.now() - killedAt < HEARD_MS);
  assert.deepEqual(
    events.slice(-2).map((event) => event.event),
    ['error', 'done'],
  );
  const [error, done] = events.slice(-2).map((event) => JSON.parse(event.text));
  assert.deepEqual([error.code, done.status, done.cause], ['sandbox_failed', 'failed', 'killed']);
  assert.ok(error.detail && done.detail);
  await assertIntact(atoll, id);
  assert.notEqual((await show(atoll, id)).sandboxId, before.sandboxId);
});

test('a sandbox is killed between two turns: a reader hears of it, the next message has a new one', async () => {
  await using atoll = await startAtoll();
  const id = await begun(atoll);
  const before = await show(atoll, id);
  const reader = watchEvents(atoll, id);
  await until(async () => reader.seen.length === before.lastSeq);
  await killSandboxes(atoll.pid);
  const heard = await until(async () => reader.seen[before.lastSeq], HEARD_MS);
  const { status, cause, detail } = JSON.parse(heard.data);
  assert.deepEqual([heard.event, status, cause], ['status', 'paused', 'killed']);
  assert.ok(detail);
  await assertIntact(atoll, id);
  assert.notEqual((await show(atoll, id)).sandboxId, before.sandboxId);
  await atoll.stop();
  await reader.ended;
});
