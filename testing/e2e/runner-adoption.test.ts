/** The coordinator is killed while a turn runs on a runner elsewhere, and started again: the turn goes on. Over each link. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { counting } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll, until } from '../atoll.ts';
import { assertProblem, createAsk, json } from '../raw-http.ts';
import { readThrough } from '../readers.ts';
import { startRunner } from '../runner-process.ts';
import { startSteeredRunner } from '../steered-runner.ts';
import { registerMessage } from '../stock-runner.ts';

const cases = [
  { link: 'http', lost: 0 },
  { link: 'grpc', lost: 0 },
  { link: 'http', lost: 2 },
] as const;

const register = '/api/internal/runners/register';

for (const { link, lost } of cases)
  test(`${link}: killed in the middle of a turn, it loses and doubles nothing of it; ${lost} answers are lost`, {
    timeout: 60_000,
  }, async () => {
    const args = ['--no-runner', ...(link === 'grpc' ? ['--grpc-port', '0'] : [])];
    await using atoll = await startAtoll({ args, keepsPorts: true });
    await using way = await startDeafening(atoll, register);
    await using runner = await startRunner(lost > 0 ? { ...atoll, url: way.url } : atoll, 'one', { link });
    await deployProgram(atoll.client, 'counting', counting);
    // Its runner comes back within a heartbeat, and has to come again.
    const count = lost > 0 ? 6_000 : 3_000;
    const { session } = await atoll.client.call('session.create', { agent: 'counting' });
    const { id: sessionId, sandboxId } = session;
    const show = async () => (await atoll.client.call('session.show', { sessionId })).session;
    const { turn } = await atoll.client.call('session.send', { sessionId, content: `${count} 10 20` });
    const reading = readThrough(atoll, sessionId, turn.id);
    await until(async () => (await show()).lastSeq > 100);
    await atoll.kill();
    way.lose(lost);
    await atoll.restart();
    const { registrationId: _, ...described } = registerMessage(runner.id);
    const another = json({ ...described, address: 'http://127.0.0.1:1' });
    assertProblem(await createAsk(atoll)('POST', register, another), 409, 'already_exists');
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
      Array.from({ length: count }, (_, n) => n),
    );
    assert.equal(JSON.parse(events.at(-1)?.data ?? '{}').status, 'completed');
    assert.equal((await show()).sandboxId, sandboxId);
    assert.equal(way.left, 0);
    await atoll.client.call('session.end', { sessionId });
  });

test('a session that is asked for before its runner is back is made there; what no runner could take is refused', {
  timeout: 60_000,
}, async () => {
  await using atoll = await startAtoll({ args: ['--no-runner'], keepsPorts: true });
  await using runner = await startSteeredRunner('steered');
  await runner.register(atoll, atoll.key);
  await deployProgram(atoll.client, 'counting', counting);
  await atoll.kill();
  await atoll.restart();
  const creating = atoll.client.call('session.create', { agent: 'counting' });
  const demands = { driver: 'of-nobody' };
  await assert.rejects(atoll.client.call('session.create', { agent: 'counting', demands }), {
    code: 'no_runner',
  });
  await runner.register(atoll, atoll.key);
  const { status, runnerId } = (await creating).session;
  assert.deepEqual([status, runnerId], ['idle', 'steered']);
});

/** A way to the server on which answers to that path get lost: it did what it was asked to, and nobody hears of it. */
async function startDeafening(atoll: Atoll, path: string) {
  let left = 0;
  const relay = http.createServer((request, response) => {
    const { method, headers, url = '' } = request;
    const passed = http.request(new URL(url, atoll.url), { method, headers }, (answer) => {
      if (url === path && left > 0) {
        left--;
        return response.destroy();
      }
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    passed.on('error', () => response.destroy());
    request.pipe(passed);
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  return {
    url: `http://127.0.0.1:${(relay.address() as AddressInfo).port}`,
    /** From now on, so many. */
    lose(answers: number) {
      left = answers;
    },
    get left() {
      return left;
    },
    async [Symbol.asyncDispose]() {
      relay.closeAllConnections();
      relay.close();
    },
  };
}
