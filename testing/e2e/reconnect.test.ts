/**
 * I2 and I3 over real connections: cut anywhere, come back with Last-Event-ID, miss nothing, get nothing twice. Beside
 * slow readers: reconnect.hard.test.ts.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll } from '../atoll.ts';
import { readCut, readWhole } from '../readers.ts';

let atoll: Atoll;
before(async () => {
  atoll = await startAtoll();
  await deployProgram(atoll.client, 'versatile', versatile);
});
after(() => atoll[Symbol.asyncDispose]());

async function floodedSession(count: number): Promise<{ id: string; turn: Promise<unknown> }> {
  const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
  const turn = Array.fromAsync(atoll.client.send(session.id, { content: `emit ${count} 250` }));
  return { id: session.id, turn };
}

test('cut 200 times during 50,000 events: each seq once, in order, bytes equal', async () => {
  const { id, turn } = await floodedSession(50_000);
  const { seen, connections } = await readCut(atoll, id, 200, 450);
  await turn;
  assert.ok(connections > 100, `only ${connections} connections`);
  assert.deepEqual(
    seen.map((event) => event.seq),
    seen.map((_, i) => i + 1),
  );
  assert.equal(seen.filter((event) => event.event === 'message').length, 50_001);
  assert.deepEqual(seen, await readWhole(atoll, id));
});

test('the JSON pages hold the same bytes', async () => {
  const { id, turn } = await floodedSession(3_000);
  await turn;
  const seen = await readWhole(atoll, id);
  let cursor: string | null = '0';
  let at = 0;
  while (cursor !== null && at < seen.length) {
    const page: { events: { seq: number; event: string; data: unknown }[]; nextCursor: string | null } =
      await atoll.client.call('session.events', { sessionId: id, cursor, limit: 700 });
    for (const event of page.events.slice(0, seen.length - at)) {
      const expected = seen[at++];
      assert.equal(event.seq, expected?.seq);
      assert.deepEqual(event.data, JSON.parse(expected?.data ?? ''));
    }
    cursor = page.nextCursor;
  }
  assert.equal(at, seen.length);
});

test('a cursor that is no seq, or past the end, is refused', async () => {
  const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
  const ask = async (path: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`${atoll.url}/api/sessions/${session.id}/events${path}`, {
      headers: { authorization: `Bearer ${atoll.key}`, accept: 'text/event-stream', ...headers },
    });
    const problem = (await response.json()) as { code: string; status: number };
    return [response.status, problem.code];
  };
  assert.deepEqual(await ask('?after=99999'), [400, 'invalid_cursor']);
  assert.deepEqual((await ask('?after=-1'))[0], 400);
  assert.deepEqual((await ask('?after=x'))[0], 400);
  assert.deepEqual((await ask('', { 'last-event-id': 'abc' }))[0], 400);
  assert.deepEqual(await ask('', { 'last-event-id': '99999' }), [400, 'invalid_cursor']);
});
