import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import { type Fate, type LogEvent, SESSION, startFlakyServer, TURN } from '../test/flaky-server.ts';
import { createClient } from './client.ts';
import { Unreachable } from './errors.ts';
import type { StreamEvent } from './stream-event.ts';
import type { Timers } from './timers.ts';

const OTHER_TURN = 'turn_00000000000000000000000002';

/** Two hundred times faster than real ones: a second is 5 ms. */
const fastTimers: Timers = {
  after: (ms, task) => {
    const timer = setTimeout(task, ms / 200);
    return () => clearTimeout(timer);
  },
  random: () => 0.5,
};

const message = (n: number): LogEvent => ({ event: 'message', data: `{"n":${n}, "text":"Übung ${n} 🏝"}` });
const status = (to: string, turnId?: string): LogEvent => ({
  event: 'status',
  data: JSON.stringify({ status: to, ...(turnId === undefined ? {} : { turnId }) }),
});
const input = (turnId: string): LogEvent => ({
  event: 'input',
  data: JSON.stringify({ turnId, content: 'hi' }),
});
const done = (turnId: string): LogEvent => ({
  event: 'done',
  data: JSON.stringify({ sessionId: SESSION, turnId, status: 'completed' }),
});
const endedLog = [status('idle'), ...Array.from({ length: 40 }, (_, n) => message(n)), status('ended')];

async function start(
  t: TestContext,
  log: readonly LogEvent[],
  fate?: (n: number) => Fate,
  turnSeqs?: number[],
) {
  const server = await startFlakyServer({ log, ...(fate && { fate }), ...(turnSeqs && { turnSeqs }) });
  t.after(() => server.close());
  return { server, client: createClient({ url: server.url, key: 'k', timers: fastTimers }) };
}

async function collect(stream: AsyncIterable<StreamEvent>): Promise<StreamEvent[]> {
  const events: StreamEvent[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

function assertWholeLog(events: readonly StreamEvent[], log: readonly LogEvent[]) {
  const logged = events.filter((event) => event.seq !== undefined);
  assert.deepEqual(
    logged.map(({ seq, event, text }) => ({ seq, event, data: text })),
    log.map((event, index) => ({ seq: index + 1, ...event })),
  );
}

/** A small generator with a seed (mulberry32), so that a failing cut can be run again. */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('events: whatever byte a connection is cut at, every event comes once, in order (I2)', async (t) => {
  for (let seed = 1; seed <= 12; seed++) {
    const random = seededRandom(seed);
    const { server, client } = await start(t, endedLog, (n) => ({
      ...(n <= 8 ? { cutAfterBytes: Math.floor(random() * 900) } : {}),
      lineEnd: random() < 0.5 ? '\r\n' : '\n',
      pings: random() < 0.5,
      chunkBytes: 1 + Math.floor(random() * 300),
    }));
    const events = await collect(client.events(SESSION));
    assertWholeLog(events, endedLog);
    assert.equal(events.filter((event) => event.event === 'ready').length, 1, `seed ${seed}`);
    assert.ok(server.requests.length > 1, `seed ${seed} was never cut`);
  }
});

test('events: a silent connection is given up after 45 s and taken up again', async (t) => {
  const { server, client } = await start(t, endedLog, (n) => (n === 1 ? { stallAfterBytes: 300 } : {}));
  assertWholeLog(await collect(client.events(SESSION)), endedLog);
  assert.equal(server.requests.length, 2);
  assert.ok(Number(server.requests[1]?.headers['last-event-id']) > 0);
});

test('events: after a place, without the events up to it', async (t) => {
  const { client } = await start(t, endedLog);
  const events = await collect(client.events(SESSION, { after: 40 }));
  assert.deepEqual(events.map((event) => event.seq).filter(Boolean), [41, 42]);
});

test('events: server errors are waited out, client errors are thrown', async (t) => {
  const fate = (n: number): Fate => (n < 4 ? { status: 503, problem: 'upstream is away' } : {});
  const waited = await start(t, endedLog, fate);
  assertWholeLog(await collect(waited.client.events(SESSION)), endedLog);

  const problem = { ...new AtollError('not_found', 'No such session.').toProblem() };
  const refused = await start(t, endedLog, () => ({ status: 404, problem }));
  await assert.rejects(collect(refused.client.events(SESSION)), {
    code: 'not_found',
    detail: 'No such session.',
  });
});

test('events: a stranger who refuses is thrown, too', async (t) => {
  const { server, client } = await start(t, endedLog, () => ({ status: 404, problem: '<h1>404</h1>' }));
  await assert.rejects(collect(client.events(SESSION)), { name: 'Unreachable', status: 404 });
  assert.equal(server.requests.length, 1);
});

test('events: gives up after maxAttempts, and at once when the signal aborts', async (t) => {
  const { server, client } = await start(t, endedLog, () => ({ status: 502, problem: '<html>' }));
  await assert.rejects(collect(client.events(SESSION, { maxAttempts: 3 })), Unreachable);
  assert.equal(server.requests.length, 3);

  const live = await start(t, endedLog.slice(0, -1));
  const abort = new AbortController();
  const seen: number[] = [];
  for await (const event of live.client.events(SESSION, { signal: abort.signal })) {
    if (event.seq !== undefined) seen.push(event.seq);
    if (event.seq === 41) abort.abort();
  }
  assert.equal(seen.length, 41);
});

test('send: a turn cut in the middle goes on from the log, without other turns', async (t) => {
  const log = [
    status('running', OTHER_TURN),
    message(0),
    input(TURN),
    message(1),
    done(OTHER_TURN),
    status('running', TURN),
    message(2),
    message(3),
    input(OTHER_TURN),
    message(4),
    done(TURN),
    status('idle'),
  ];
  const own = [3, 6, 7, 8, 10, 11];
  const random = seededRandom(7);
  for (let round = 0; round < 15; round++) {
    const { server, client } = await start(
      t,
      log,
      (n) => (n <= 3 ? { cutAfterBytes: Math.floor(random() * 700) } : {}),
      own,
    );
    const fates: number[] = [];
    const events = await collect(retried(() => client.send(SESSION, { content: 'hi' }), fates));
    const seqs = events.map((event) => event.seq).filter((seq) => seq !== undefined);
    assert.deepEqual(seqs, own, `round ${round}`);
    const keys = server.requests.filter((r) => r.method === 'POST').map((r) => r.headers['idempotency-key']);
    if (fates.length === 1) assert.equal(new Set(keys).size, 1);
  }
});

/** A first connection that never answered is the caller's to repeat. */
async function* retried(
  make: () => AsyncIterable<StreamEvent>,
  tries: number[],
): AsyncGenerator<StreamEvent> {
  for (;;) {
    tries.push(1);
    try {
      return yield* make();
    } catch (error) {
      if (!(error instanceof Unreachable) || tries.length > 5) throw error;
    }
  }
}

test('send: a refusal is thrown, not retried', async (t) => {
  const problem = new AtollError('queue_full').toProblem();
  const { server, client } = await start(t, [], () => ({ status: 429, problem }));
  await assert.rejects(collect(client.send(SESSION, { content: 'hi' })), { code: 'queue_full', status: 429 });
  assert.equal(server.requests.length, 1);

  const away = createClient({ url: 'http://127.0.0.1:1', timers: fastTimers });
  await assert.rejects(collect(away.send(SESSION, { content: 'hi' })), Unreachable);
});

test('exec: output, then how it ended; a cut is an error, since output is not logged', async (t) => {
  const log = [
    { event: 'stdout', data: '{"text":"a\\n"}' },
    { event: 'stderr', data: '{"text":"b"}' },
    { event: 'exit', data: '{"exitCode":3,"timedOut":false}' },
  ];
  const { client } = await start(t, log);
  const output: unknown[] = [];
  for await (const event of client.exec(SESSION, { command: 'x' })) output.push(event);
  assert.deepEqual(output, [
    { kind: 'stdout', text: 'a\n' },
    { kind: 'stderr', text: 'b' },
    { kind: 'exit', exitCode: 3, timedOut: false },
  ]);

  const cut = await start(t, log, () => ({ cutAfterBytes: 160 }));
  await assert.rejects(async () => {
    for await (const _ of cut.client.exec(SESSION, { command: 'x' }));
  }, Unreachable);
});
