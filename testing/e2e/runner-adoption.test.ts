/** The coordinator is killed while a turn runs on a runner elsewhere, and started again: the turn goes on. Over each link. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { counting } from '../agents.ts';
import { deployProgram, startAtoll, until } from '../atoll.ts';
import { readThrough } from '../readers.ts';
import { startRunner } from '../runner-process.ts';

for (const link of ['http', 'grpc'] as const)
  test(`${link}: killed in the middle of a turn, it loses and doubles nothing of it`, {
    timeout: 60_000,
  }, async () => {
    const args = ['--no-runner', ...(link === 'grpc' ? ['--grpc-port', '0'] : [])];
    await using atoll = await startAtoll({ args, keepsPorts: true });
    await using _runner = await startRunner(atoll, 'one', { link });
    await deployProgram(atoll.client, 'counting', counting);
    const { session } = await atoll.client.call('session.create', { agent: 'counting' });
    const { id: sessionId, sandboxId } = session;
    const show = async () => (await atoll.client.call('session.show', { sessionId })).session;
    const { turn } = await atoll.client.call('session.send', { sessionId, content: '3000 10 20' });
    const reading = readThrough(atoll, sessionId, turn.id);
    await until(async () => (await show()).lastSeq > 100);
    await atoll.kill();
    await atoll.restart();
    const { status, turn: running, lastSeq } = await show();
    assert.deepEqual([status, running], ['running', turn.id]);
    const events = await reading;
    assert.ok(events.length > lastSeq);
    assert.deepEqual(
      events.map(({ seq }) => seq),
      events.map((_, at) => at + 1),
    );
    const said = events.flatMap(({ event, data }) => (event === 'message' ? [JSON.parse(data)] : []));
    assert.deepEqual(
      said.flatMap(({ type, n }) => (type === 'count' ? [n] : [])),
      Array.from({ length: 3_000 }, (_, n) => n),
    );
    assert.equal(JSON.parse(events.at(-1)?.data ?? '{}').status, 'completed');
    assert.equal((await show()).sandboxId, sandboxId);
    await atoll.client.call('session.end', { sessionId });
  });
