/** `connectWorker`, the host's side of the worker: calls, files, events, and a worker that dies under it. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  connectWorker,
  eventData,
  type StreamEvent,
  type WorkerClient,
  WorkerGone,
  type WorkerOptions,
} from '@atoll/client/worker';
import { versatile } from '../agents.ts';
import { processesWith, until } from '../atoll.ts';

const parent = await mkdtemp(join(tmpdir(), 'atoll-host-'));
const dataDir = join(parent, 'data');
let worker: WorkerClient;

const connect = (options: WorkerOptions = {}) => connectWorker({ args: ['--data-dir', dataDir], ...options });

before(async () => {
  worker = await connect();
  await worker.call('agent.deploy', {
    name: 'versatile',
    files: Object.entries({
      'agent.mjs': versatile,
      'atoll.json': JSON.stringify({ executor: { kind: 'program', command: ['node', 'agent.mjs'] } }),
    }).map(([path, text]) => ({ path, content: Buffer.from(text).toString('base64') })),
  });
});
after(async () => {
  await worker.close();
  assert.deepEqual(await processesWith(dataDir), []);
  await rm(parent, { recursive: true });
});

async function open(): Promise<string> {
  return (await worker.call('session.create', { agent: 'versatile' })).session.id;
}

async function untilDone(events: AsyncIterable<StreamEvent>): Promise<StreamEvent[]> {
  const seen: StreamEvent[] = [];
  for await (const event of events) {
    seen.push(event);
    if (event.event === 'done') return seen;
  }
  throw new Error('the session ended before its turn');
}

const seqs = (events: readonly StreamEvent[]) => events.map(({ seq }) => seq);
const dense = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

test('calls, and the events of a turn as they are in the log', async () => {
  assert.equal(await worker.ping(), 'pong');
  assert.ok(worker.hello?.pid);
  assert.ok('sessions' in (await worker.call('state_at', {})));
  const sessionId = await open();
  await worker.call('session.send', { sessionId, content: 'grüße "there"' });
  const events = await untilDone(worker.events(sessionId));
  assert.deepEqual(seqs(events), dense(events.length));
  const message = events.find(({ event }) => event === 'message');
  assert.equal(message?.text, JSON.stringify({ type: 'echo', text: 'grüße "there"' }));
  const [last] = await untilDone(worker.events(sessionId, { after: events.length - 1 }));
  assert.equal(last && eventData(last, 'done')?.status, 'completed');
  await worker.call('session.end', { sessionId });
  const all = await Array.fromAsync(worker.events(sessionId));
  assert.ok(all.length > events.length, 'an iteration ends with its session');
});

test('what goes wrong is typed', async () => {
  await assert.rejects(worker.call('agent.show', { name: 'nobody' }), {
    name: 'AtollError',
    code: 'not_found',
  });
  await assert.rejects(worker.call('agent.list', { limit: 0 }), { name: 'RpcError', code: -32602 });
  await assert.rejects(Array.fromAsync(worker.events('ses_0000000000000000000000000a')), {
    name: 'AtollError',
  });
});

test('a call ends at its deadline, or with its signal, and the worker with it', async () => {
  const sessionId = await open();
  const sleep = { sessionId, command: 'sleep 20' };
  await assert.rejects(worker.call('session.exec', sleep, { deadlineMs: 50 }), { code: 'timed_out' });
  const abort = new AbortController();
  const cancelled = worker.call('session.exec', sleep, { signal: abort.signal });
  abort.abort(new Error('enough'));
  await assert.rejects(cancelled, /enough/);
  const ended = { signal: AbortSignal.abort(new Error('before it began')) };
  await assert.rejects(worker.ping(ended), /before it began/);
  const left = new AbortController();
  const events = Array.fromAsync(worker.events(sessionId, { signal: left.signal }));
  left.abort();
  assert.ok(Array.isArray(await events));
  await worker.call('session.end', { sessionId });
});

test('files go both ways in pieces', async () => {
  const sessionId = await open();
  const bytes = Buffer.from(Array.from({ length: 2_500_000 }, (_, i) => (i * 7 + (i >> 8)) % 256));
  async function* parts() {
    for (let at = 0; at < bytes.length; at += 300_000) yield bytes.subarray(at, at + 300_000);
  }
  const { file } = await worker.writeFile(sessionId, 'big/file.bin', parts());
  assert.deepEqual(file, { path: 'big/file.bin', sizeBytes: bytes.length, created: true });
  const read = Buffer.concat(await Array.fromAsync(worker.readFile(sessionId, 'big/file.bin')));
  assert.ok(read.equals(bytes));
  await worker.writeFile(sessionId, 'empty', '');
  assert.deepEqual(await Array.fromAsync(worker.readFile(sessionId, 'empty')), []);
  await assert.rejects(Array.fromAsync(worker.readFile(sessionId, 'none')), { code: 'not_found' });
  await worker.call('session.end', { sessionId });
});

test('a reader that stops holds nobody up, and gets every event once when it goes on', async () => {
  const [stopped, other] = [await open(), await open()];
  await worker.call('session.send', { sessionId: stopped, content: 'emit 20000 250' });
  const events = worker.events(stopped)[Symbol.asyncIterator]();
  const first = (await events.next()).value as StreamEvent;
  await worker.call('session.send', { sessionId: other, content: 'hello' });
  await untilDone(worker.events(other));
  await until(async () => {
    const { session } = await worker.call('session.show', { sessionId: stopped });
    return session.status === 'idle' && session.lastSeq > 20_000 ? true : undefined;
  });
  const rest = await untilDone({ [Symbol.asyncIterator]: () => events });
  assert.deepEqual(seqs([first, ...rest]), dense(rest.length + 1));
  for (const sessionId of [stopped, other]) await worker.call('session.end', { sessionId });
});

test('killed in the middle of a turn, it is started again: each event once, and the turn ends with a cause', async () => {
  const sessionId = await open();
  const seen: StreamEvent[] = [];
  const watching = untilDone(
    (async function* () {
      for await (const event of worker.events(sessionId)) {
        seen.push(event);
        yield event;
      }
    })(),
  );
  await worker.call('session.send', { sessionId, content: 'wait' });
  await until(async () => (seen.some(({ text }) => text.includes('waiting')) ? true : undefined));
  const { pid = 0 } = worker.hello ?? {};
  const underWay = worker.call('session.exec', { sessionId, command: 'sleep 20' });
  process.kill(pid, 'SIGKILL');
  await assert.rejects(underWay, WorkerGone);
  assert.equal(await worker.ping(), 'pong', 'what is asked meanwhile is asked of the next one');
  assert.notEqual(worker.hello?.pid, pid);
  const events = await watching;
  assert.deepEqual(seqs(events), dense(events.length));
  const done = events.at(-1);
  assert.deepEqual(
    [done && eventData(done, 'done')?.status, done && eventData(done, 'done')?.cause],
    ['interrupted', 'server_lost'],
  );
});

test('what cannot be started says why', async () => {
  await assert.rejects(connect({ command: ['no-such-program-of-ours'] }), WorkerGone);
  await assert.rejects(connect({ args: ['--driver', 'process'] }), /isolation_required/);
  await assert.rejects(connect({ socket: join(parent, 'nobody.sock'), token: 'x'.repeat(16) }), WorkerGone);
});

test('closed, it takes no calls, and iterations end', async () => {
  const own = await connectWorker({ args: ['--data-dir', join(parent, 'other')] });
  const { session } = { session: await own.call('session.list', {}) };
  assert.deepEqual(session.sessions, []);
  await own.close();
  await assert.rejects(own.ping(), WorkerGone);
  assert.throws(() => own.events('ses_1'), WorkerGone);
  assert.deepEqual(await processesWith(join(parent, 'other')), []);
});

/** A worker of before, as far as a host can tell. */
const beforeJsonRpc = `
import { createInterface } from 'node:readline';
for await (const line of createInterface({ input: process.stdin }))
  console.log(line === 'ping' ? 'pong' : line.startsWith('state_at {"asOf":1') ? '{"asOf":1,"session":null}' : '{"error":"what?"}');`;

test('with legacyFallback, a worker of before is spoken with in its lines', async () => {
  const command = [process.execPath, '--input-type=module', '-e', beforeJsonRpc, '--'];
  await using old = await connectWorker({ command, legacyFallback: true });
  assert.equal(old.hello, undefined);
  assert.deepEqual(await Promise.all([old.ping(), old.ping()]), ['pong', 'pong']);
  const asOf = { asOf: 1, sessionId: 'ses_0000000000000000000000000a' };
  assert.deepEqual(await old.call('state_at', asOf), { asOf: 1, session: null });
  await assert.rejects(old.call('Temporal.StateAt', {}), /what\?/);
  await assert.rejects(old.call('agent.list', {}), { code: -32601 });
});
