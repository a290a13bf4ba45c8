/** kill -9 of the server, and of sandboxes: nothing that a client saw is lost, everything ends with a cause (I1, I10). */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { versatile } from '../agents.ts';
import { deployProgram, processesWith, startAtoll, until } from '../atoll.ts';
import { type RawEvent, readSse } from '../raw-sse.ts';

const ROUNDS = 4;

test(`kill -9 of the server in the middle of a turn, ${ROUNDS} times`, async () => {
  await using atoll = await startAtoll();
  await deployProgram(atoll.client, 'versatile', versatile);
  const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
  await Array.fromAsync(atoll.client.send(session.id, { content: 'remember the ferry' }));
  for (let round = 1; round <= ROUNDS; round++) {
    const seen: RawEvent[] = [];
    const enough = 1000 * round;
    const reading = readSse({
      url: atoll.url,
      key: atoll.key,
      path: `/api/sessions/${session.id}/messages`,
      method: 'POST',
      body: { content: 'emit 1000000 250' },
      onEvent(event) {
        if (event.seq !== undefined) seen.push(event);
        return true;
      },
    });
    await until(async () => seen.length > enough);
    await atoll.kill();
    await reading;
    await until(async () => (await processesWith(atoll.dataDir)).length === 0);
    await atoll.restart();

    const { session: back } = await atoll.client.call('session.show', { sessionId: session.id });
    assert.deepEqual([back.status, back.cause], ['paused', 'server_lost']);
    const kept = new Map<number, RawEvent>();
    await readSse({
      url: atoll.url,
      key: atoll.key,
      path: `/api/sessions/${session.id}/events?after=${(seen[0]?.seq ?? 1) - 1}`,
      onEvent(event) {
        if (event.seq !== undefined) kept.set(event.seq, event);
        return event.event !== 'done';
      },
    });
    for (const event of seen)
      assert.deepEqual(kept.get(event.seq ?? 0), event, 'what a client saw is in the log');
    const done = JSON.parse([...kept.values()].at(-1)?.data ?? '{}');
    assert.deepEqual([done.status, done.cause], ['interrupted', 'server_lost']);
    const events = await Array.fromAsync(atoll.client.send(session.id, { content: 'recall' }));
    assert.ok(
      events.some((event) => event.text.includes('the ferry')),
      'the agent remembers',
    );
  }
});

test('a sandbox that is killed in a turn, and between turns: the client hears of it, the next message works', async () => {
  await using atoll = await startAtoll();
  await deployProgram(atoll.client, 'versatile', versatile);
  const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
  await Array.fromAsync(atoll.client.send(session.id, { content: 'remember the pier' }));

  const turn = Array.fromAsync(atoll.client.send(session.id, { content: 'wait' }));
  await until(
    async () => (await atoll.client.call('session.show', { sessionId: session.id })).session.turn !== null,
  );
  const killedAt = Date.now();
  await killSandboxes(atoll.pid);
  const events = await turn;
  assert.ok(Date.now() - killedAt < 2000);
  assert.deepEqual(
    events.slice(-2).map((event) => event.event),
    ['error', 'done'],
  );
  const done = JSON.parse(events.at(-1)?.text ?? '');
  assert.deepEqual([done.status, done.cause], ['failed', 'killed']);
  assert.ok(done.detail.length > 0);
  const recalled = await Array.fromAsync(atoll.client.send(session.id, { content: 'recall' }));
  assert.ok(recalled.some((event) => event.text.includes('the pier')));

  await killSandboxes(atoll.pid);
  const paused = await until(async () => {
    const { session: now } = await atoll.client.call('session.show', { sessionId: session.id });
    return now.status === 'paused' && now;
  });
  assert.equal(paused.cause, 'killed');
  const again = await Array.fromAsync(atoll.client.send(session.id, { content: 'recall' }));
  assert.ok(again.some((event) => event.text.includes('the pier')));
});

/** SIGKILL to every bwrap below the server. */
async function killSandboxes(server: number): Promise<void> {
  let killed = 0;
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const [, name = '', parent = ''] = /^\d+ \((.*)\) \S (\d+)/.exec(stat) ?? [];
    if (name !== 'bwrap' || Number(parent) !== server) continue;
    process.kill(Number(pid), 'SIGKILL');
    killed++;
  }
  assert.ok(killed > 0, 'no sandbox was found to kill');
}
