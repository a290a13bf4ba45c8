/** What goes when it is old, on a server whose settings make it old soon. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll, until } from '../atoll.ts';
import { createAsk } from '../raw-http.ts';

/** Writes as the Claude Agent SDK does: pieces of a message, and then all of it. `cut` waits in between. */
const streaming = `
import { createInterface } from 'node:readline';
const send = (message) => new Promise((resolve) => process.stdout.write(JSON.stringify(message) + '\\n', resolve));
process.on('SIGINT', () => void send({ type: 'result', is_error: true, terminal_reason: 'aborted_streaming' }));
setInterval(() => {}, 60000);
for await (const line of createInterface({ input: process.stdin })) {
  const { content } = JSON.parse(line);
  for (let n = 0; n < 200; n++) {
    await send({ type: 'stream_event', event: { type: 'content_block_delta', index: 0, delta: { text: 'word ' + n } } });
    // So that commits are many.
    if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    if (n === 99) await send({ type: 'assistant', message: { content: 'the first half' } });
  }
  if (content === 'cut') { await send({ type: 'stuck' }); continue; }
  await send({ type: 'assistant', message: { content: 'the second half' } });
  await send({ type: 'result', num_turns: 1, usage: { input_tokens: 1, output_tokens: 200 } });
}
`;

type Event = { seq: number; event: string; data: unknown };

async function eventsOf({ client }: Atoll, sessionId: string, after = 0): Promise<Event[]> {
  const { events } = await client.call('session.events', { sessionId, after, limit: 1000 });
  return events.map(({ seq, event, data }) => ({ seq, event, data }));
}

const runsOf = (events: readonly Event[]) =>
  events
    .filter(({ event }) => event === 'compacted')
    .map(({ seq, data }) => ({ seq, ...(data as { from: number; to: number }) }));

test('partial messages are compacted after their turn, and every reader gets the same', async () => {
  await using atoll = await startAtoll({ args: ['--compact-partials', '1s'] });
  const { client } = atoll;
  await deployProgram(client, 'streamer', streaming);
  const { session } = await client.call('session.create', { agent: 'streamer' });
  const sessionId = session.id;
  // What writes as Claude does is taken for it from here on.
  const database = new DatabaseSync(join(atoll.dataDir, 'atoll.db'));
  database.exec(
    `UPDATE agent_versions SET settings = replace(settings, '"kind":"program"', '"kind":"claude"')`,
  );
  database.close();
  const message = { content: 'go', includePartialMessages: true };
  const live = await Array.fromAsync(client.send(sessionId, message));
  assert.equal(live.filter(({ text }) => text.startsWith('{"type":"stream_event"')).length, 200);
  const plain = await eventsOf(atoll, sessionId);

  const cut = client.send(sessionId, { ...message, content: 'cut' })[Symbol.asyncIterator]();
  while (!(await cut.next()).value?.text.includes('stuck'));
  await client.call('session.interrupt', { sessionId });
  while (!(await cut.next()).done);

  const last = plain.at(-1)?.seq ?? 0;
  const compacted = await until(async () => {
    const events = await eventsOf(atoll, sessionId);
    return runsOf(events).reduce((sum, { from, to }) => sum + to - from + 1, 0) === 200 && events;
  });
  const runs = runsOf(compacted);
  assert.deepEqual(
    runs.map(({ from, to }) => to - from + 1),
    [100, 100],
    'two runs, over all commits',
  );
  assert.ok(runs.every(({ seq, to }) => seq === to && to <= last));
  const isTaken = (seq: number) => runs.some(({ from, to }) => seq >= from && seq <= to);
  const kept = compacted.filter(({ event, seq }) => event !== 'compacted' && seq <= last);
  assert.deepEqual(
    kept,
    plain.filter(({ seq }) => !isTaken(seq)),
    'the rest is as it was',
  );
  const stuck = compacted.filter(
    ({ seq, data }) => seq > last && JSON.stringify(data).includes('stream_event'),
  );
  assert.equal(stuck.length, 200, 'a turn that was interrupted keeps them: there may be nothing else of it');

  // SSE after a seq within a run, as a reader that was cut off there.
  const [run] = runs;
  assert.ok(run);
  const replayed: Event[] = [];
  for await (const { seq = 0, event, text } of client.events(sessionId, { after: run.from + 7 })) {
    if (event === 'ready') continue;
    replayed.push({ seq, event, data: JSON.parse(text) });
    if (seq >= last) break;
  }
  assert.deepEqual(
    replayed,
    compacted.filter(({ seq }) => seq >= run.to && seq <= last),
  );

  const inside = await client.call('session.state', { sessionId, at: run.from + 7 });
  assert.deepEqual([inside.session?.status, inside.session?.lastSeq], ['running', run.from + 7]);
  const refused = client.call('session.fork', { sessionId, at: run.from + 7 });
  const range = new RegExp(`${run.from} to ${run.to} were compacted: take ${run.from - 1} or ${run.to}`);
  await assert.rejects(refused, { code: 'seq_compacted', message: range });
  const { session: fork } = await client.call('session.fork', { sessionId, at: run.to });
  const shared = (await eventsOf(atoll, fork.id)).filter(({ seq }) => seq <= run.to);
  assert.deepEqual(
    shared,
    compacted.filter(({ seq }) => seq <= run.to),
  );

  await atoll.kill();
  await atoll.restart();
  assert.deepEqual((await eventsOf(atoll, sessionId)).slice(0, compacted.length), compacted);
});

test('a session that idles is paused, then ended, then erased; its fork and its bill stay', async () => {
  const args = ['--idle-pause', '1s', '--end-paused', '3s', '--keep-sessions', '6s', '--log-level', 'info'];
  await using atoll = await startAtoll({ args });
  const { client } = atoll;
  await deployProgram(client, 'versatile', versatile);
  const { session } = await client.call('session.create', { agent: 'versatile' });
  const sessionId = session.id;
  await Array.fromAsync(client.send(sessionId, { content: 'remember this' }));
  const { session: fork } = await client.call('session.fork', { sessionId });
  const shared = await eventsOf(atoll, sessionId);
  // While it works, it is not old.
  const working = client.exec(fork.id, { command: 'sleep 60' })[Symbol.asyncIterator]().next();

  const statusOf = async () => (await client.call('session.show', { sessionId })).session;
  const paused = await until(
    async () => ((await statusOf()).status === 'paused' ? statusOf() : false),
    40_000,
  );
  assert.equal(paused.cause, 'idle');
  const ended = await until(async () => ((await statusOf()).status === 'ended' ? statusOf() : false), 20_000);
  assert.deepEqual(
    [ended.cause, ended.detail],
    ['retention', 'Nobody used it for 3 seconds while it was paused.'],
  );
  const before = (await client.call('usage.show', { session: sessionId })).totals;
  await until(
    () =>
      statusOf().then(
        () => false,
        ({ code }) => code === 'not_found',
      ),
    20_000,
  );

  const { usage, totals } = await client.call('usage.show', { by: 'session' });
  const erased = usage.find((item) => item.sessionId === null);
  assert.deepEqual([erased?.agent, erased?.turns], ['versatile', 1]);
  assert.ok((erased?.logBytes ?? 0) >= before.logBytes && totals.turns === 1);
  const kept = (await eventsOf(atoll, fork.id)).filter(({ seq }) => seq <= shared.length);
  assert.deepEqual(kept, shared);
  const metrics = await client.call('metrics.show', {});
  assert.match(metrics, /^atoll_retention_sessions_ended_total 1$/m);
  assert.match(metrics, /^atoll_retention_sessions_erased_total 1$/m);
  await until(async () => /"sessionsErased":1/.test(atoll.stderr));
  await client.call('session.end', { sessionId: fork.id, purge: true });
  await working.catch(() => undefined);
});

test('a log that is erased by and by survives a crash in between', async () => {
  await using atoll = await startAtoll({ args: ['--keep-sessions', '1s'] });
  await deployProgram(atoll.client, 'versatile', versatile);
  const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
  // More commits than are erased at once.
  for (let n = 0; n < 20; n++) await Array.fromAsync(atoll.client.send(session.id, { content: 'hello' }));
  await atoll.client.call('session.end', { sessionId: session.id });
  const gone = () =>
    atoll.client.call('session.show', { sessionId: session.id }).then(
      () => false,
      ({ code }) => code === 'not_found',
    );
  await until(gone, 20_000);
  await atoll.kill();
  await atoll.restart();
  assert.equal(await gone(), true);
  const ask = createAsk(atoll);
  const { body } = await ask('GET', `/api/sessions/${session.id}/events`, { key: atoll.key });
  assert.equal(body.code, 'not_found');
  assert.equal((await atoll.client.call('usage.show', {})).totals.turns, 20);
});

test('whoever looks at a session while it is erased does not bring it back', async () => {
  await using atoll = await startAtoll();
  const { client } = atoll;
  await deployProgram(client, 'versatile', versatile);
  for (let round = 0; round < 5; round++) {
    const { session } = await client.call('session.create', { agent: 'versatile' });
    const sessionId = session.id;
    let erased = false;
    const look = async () => {
      while (!erased)
        await client.call('session.show', { sessionId }).catch(({ code }) => assert.equal(code, 'not_found'));
    };
    const looking = [look(), look(), look()];
    await client.call('session.end', { sessionId, purge: true });
    await assert.rejects(client.call('session.show', { sessionId }), { code: 'not_found' });
    erased = true;
    await Promise.all(looking);
  }
});
