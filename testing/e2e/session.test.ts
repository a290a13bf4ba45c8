import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { StreamEvent } from '@atoll/client';
import { AtollError } from '@atoll/protocol';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, processesWith, startAtoll, until } from '../atoll.ts';

let atoll: Atoll;
before(async () => {
  atoll = await startAtoll({ args: ['--capacity', '3'] });
  await deployProgram(atoll.client, 'versatile', versatile);
});
after(() => atoll[Symbol.asyncDispose]());

async function open(): Promise<string> {
  return (await atoll.client.call('session.create', { agent: 'versatile' })).session.id;
}

async function send(sessionId: string, content: string): Promise<StreamEvent[]> {
  return Array.fromAsync(atoll.client.send(sessionId, { content }));
}

const names = (events: readonly StreamEvent[]) => events.map((event) => event.event);
const refused = (code: string) => (error: unknown) => error instanceof AtollError && error.code === code;

test('a turn: ready, input, status, messages, done', async () => {
  const id = await open();
  const events = await send(id, 'hello there');
  assert.deepEqual(names(events), ['ready', 'input', 'status', 'message', 'message', 'done']);
  assert.deepEqual(JSON.parse(events[3]?.text ?? ''), { type: 'echo', text: 'hello there' });
  const seqs = events.slice(1).map((event) => event.seq);
  assert.deepEqual(
    seqs,
    seqs.map((_, i) => (seqs[0] ?? 0) + i),
  );
  const { session } = await atoll.client.call('session.show', { sessionId: id });
  assert.equal(session.status, 'idle');
  const { events: log } = await atoll.client.call('session.events', { sessionId: id });
  assert.deepEqual(
    log.map((event) => event.seq),
    log.map((_, i) => i + 1),
    'seq is dense from 1',
  );
  assert.equal(log.length, session.lastSeq);
});

test('messages cross as the bytes that the agent wrote', async () => {
  const odd = '{ "a" :1.0,"é":"\\u00e9\\/", "big":12345678901234567890 ,"é2":"日本 🏝" }';
  await deployProgram(
    atoll.client,
    'odd',
    `process.stdin.on('data', () => process.stdout.write(${JSON.stringify(`${odd}\n{"type":"result"}\n`)}));`,
  );
  const { session } = await atoll.client.call('session.create', { agent: 'odd' });
  const events = await send(session.id, 'go');
  assert.equal(events.find((event) => event.event === 'message')?.text, odd);
  await atoll.client.call('session.end', { sessionId: session.id });
});

test('turns wait for each other, in order, and can be interrupted', async () => {
  const id = await open();
  const first = send(id, 'wait');
  await until(async () => (await atoll.client.call('session.show', { sessionId: id })).session.turn !== null);
  const second = send(id, 'second');
  await until(
    async () => (await atoll.client.call('session.show', { sessionId: id })).session.queuedTurns === 1,
  );
  await assert.rejects(
    atoll.client.call('session.send', { sessionId: id, content: 'x', when: 'now' }),
    refused('cannot_steer'),
  );
  await atoll.client.call('session.interrupt', { sessionId: id });
  const done = (await first).at(-1);
  assert.deepEqual([done?.event, JSON.parse(done?.text ?? '').status], ['done', 'interrupted']);
  const events = await second;
  assert.deepEqual(names(events), ['ready', 'input', 'status', 'message', 'message', 'done']);
  assert.equal(JSON.parse(events.at(-1)?.text ?? '').status, 'completed');
  await atoll.client.call('session.end', { sessionId: id });
});

test('the same Idempotency-Key is the same turn; with another body it is a conflict', async () => {
  const id = await open();
  const ask = (content: string) =>
    atoll.client.call('session.send', { sessionId: id, content, idempotencyKey: 'k-1' });
  const [a, b] = await Promise.all([ask('once'), ask('once')]);
  assert.equal(a.turn.id, b.turn.id);
  await until(async () => (await ask('once')).turn.status === 'completed');
  assert.equal((await ask('once')).turn.id, a.turn.id);
  await assert.rejects(ask('twice'), refused('idempotency_conflict'));
  const replay = await Array.fromAsync(atoll.client.send(id, { content: 'once', idempotencyKey: 'k-1' }));
  assert.deepEqual(names(replay), ['ready', 'input', 'status', 'message', 'message', 'done']);
  assert.equal(JSON.parse(replay[0]?.text ?? '').status, 'completed', 'the turn’s, which is what it streams');
  await atoll.client.call('session.end', { sessionId: id });
});

test('a turn fails with a cause when the agent says so, and when it crashes; the next one works', async () => {
  const id = await open();
  const failed = JSON.parse((await send(id, 'fail')).at(-1)?.text ?? '');
  assert.equal(failed.status, 'failed');
  const crashed = JSON.parse((await send(id, 'crash')).at(-1)?.text ?? '');
  assert.deepEqual([crashed.status, crashed.cause], ['failed', 'executor_crashed']);
  assert.ok(crashed.detail.length > 0);
  assert.equal(JSON.parse((await send(id, 'again')).at(-1)?.text ?? '').status, 'completed');
  await atoll.client.call('session.end', { sessionId: id });
});

test('an evicted session comes back with its files and its home', async () => {
  const ids: string[] = [];
  for (let i = 0; i < 3; i++) ids.push(await open());
  const [oldest = ''] = ids;
  await send(oldest, 'remember the lighthouse');
  await atoll.client.writeFile(oldest, 'notes/a.txt', new TextEncoder().encode('kept'));
  for (const id of ids.slice(1)) await send(id, 'newer');
  const extra = await open();
  const evicted = (await atoll.client.call('session.show', { sessionId: oldest })).session;
  assert.deepEqual([evicted.status, evicted.cause], ['paused', 'evicted']);
  const file = await new Response(await atoll.client.readFile(oldest, 'notes/a.txt')).text();
  assert.equal(file, 'kept', 'files of a paused session can be read');
  const events = await send(oldest, 'recall');
  assert.equal(
    JSON.parse(events.find((event) => event.text.includes('recalled'))?.text ?? '{}').text,
    'the lighthouse',
  );
  assert.equal(JSON.parse(events.at(-1)?.text ?? '').status, 'completed');
  for (const id of [...ids, extra]) await atoll.client.call('session.end', { sessionId: id });
});

test('when every sandbox is busy, a new session is refused with the reason', async () => {
  const ids = [await open(), await open(), await open()];
  const turns = ids.map((id) => send(id, 'wait'));
  await until(async () => (await atoll.client.call('health.show', {})).pool.running === 3);
  await assert.rejects(open(), refused('no_capacity'));
  for (const id of ids) await atoll.client.call('session.end', { sessionId: id });
  for (const turn of await Promise.all(turns)) {
    const done = JSON.parse(turn.at(-1)?.text ?? '');
    assert.deepEqual([done.status, done.cause], ['interrupted', 'ended']);
  }
  assert.equal((await atoll.client.call('health.show', {})).pool.reserved, 0);
});

test('a place is free again when the end of a session is answered', async () => {
  const ids = [await open(), await open(), await open()];
  for (let round = 0; round < 5; round++) {
    await atoll.client.call('session.end', { sessionId: ids.shift() ?? '' });
    ids.push(await open());
  }
  for (const id of ids) await atoll.client.call('session.end', { sessionId: id });
});

test('a session in which a command runs is not evicted under it', async () => {
  const ids = [await open(), await open(), await open()];
  const running = ids.map((sessionId) =>
    atoll.client.call('session.exec', { sessionId, command: 'sleep 1; echo finished' }),
  );
  await until(async () => (await atoll.client.call('health.show', {})).pool.idle === 3);
  await assert.rejects(open(), refused('no_capacity'));
  for (const { stdout } of await Promise.all(running)) assert.equal(stdout, 'finished\n');
  for (const id of ids) await atoll.client.call('session.end', { sessionId: id });
});

test('a command ends when its client leaves', async () => {
  const id = await open();
  const leaving = new AbortController();
  const gone = atoll.client.exec(id, { command: 'echo here; exec sleep 987654' }, { signal: leaving.signal });
  for await (const _ of gone) break;
  leaving.abort();
  await until(async () => (await processesWith('987654')).length === 0);
  await atoll.client.call('session.end', { sessionId: id });
});

test('exec streams output, tells the exit code, and stops at its time', async () => {
  const id = await open();
  const events = await Array.fromAsync(
    atoll.client.exec(id, { command: 'echo out; echo err >&2; pwd; exit 3' }),
  );
  const text = (kind: string) =>
    events.flatMap((event) => (event.kind === kind && 'text' in event ? [event.text] : [])).join('');
  assert.equal(text('stdout'), 'out\n/workspace\n');
  assert.equal(text('stderr'), 'err\n');
  const end = events.at(-1);
  assert.equal(end?.kind === 'exit' && end.exitCode, 3);
  const json = await atoll.client.call('session.exec', {
    sessionId: id,
    command: 'sleep 60',
    timeoutMs: 200,
  });
  assert.equal(json.timedOut, true);
  await atoll.client.call('session.end', { sessionId: id });
});

test('after its end a session takes nothing, and its log stays readable', async () => {
  const id = await open();
  await send(id, 'hello');
  const { session } = await atoll.client.call('session.end', { sessionId: id });
  assert.equal(session.status, 'ended');
  await assert.rejects(send(id, 'more'), refused('session_ended'));
  await assert.rejects(atoll.client.call('session.files.list', { sessionId: id }), refused('session_ended'));
  const all = await Array.fromAsync(atoll.client.events(id));
  assert.equal(JSON.parse(all.at(-1)?.text ?? '').status, 'ended');
  await atoll.client.call('session.end', { sessionId: id, purge: true });
  await assert.rejects(atoll.client.call('session.show', { sessionId: id }), refused('not_found'));
});

test('stop ends everything: sessions are paused with a cause, no process is left', async () => {
  const own = await startAtoll();
  await using _ = own;
  await deployProgram(own.client, 'versatile', versatile);
  const { session } = await own.client.call('session.create', { agent: 'versatile' });
  const turn = Array.fromAsync(own.client.send(session.id, { content: 'wait' }, { maxAttempts: 1 })).catch(
    () => [],
  );
  await until(
    async () => (await own.client.call('session.show', { sessionId: session.id })).session.turn !== null,
  );
  assert.equal(await own.stop(), 0);
  await turn;
  assert.deepEqual(await processesWith(own.dataDir), []);
  await own.restart();
  const { session: back } = await own.client.call('session.show', { sessionId: session.id });
  assert.deepEqual([back.status, back.cause], ['paused', 'server_stopped']);
  // Two messages while it comes back: each stream shows its own turn.
  const [first, second] = await Promise.all(
    ['first', 'second'].map((content) => Array.fromAsync(own.client.send(session.id, { content }))),
  );
  for (const [events, word] of [
    [first, 'first'],
    [second, 'second'],
  ] as const) {
    const texts = events?.flatMap((event) => (event.event === 'message' ? [event.text] : [])) ?? [];
    assert.deepEqual(texts.length, 2);
    assert.ok(texts[0]?.includes(word), texts[0]);
    assert.equal(JSON.parse(events?.at(-1)?.text ?? '').status, 'completed');
  }
});
