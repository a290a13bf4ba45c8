/** The worker over stdio: the whole platform behind a pipe (protocols §5, I8). */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { versatile } from '../agents.ts';
import { processesWith, until } from '../atoll.ts';
import { listenersOf, treeOf } from '../sockets.ts';
import { deployOver, type Line, startWorker, type Worker } from '../worker.ts';

let worker: Worker;
before(async () => {
  worker = await startWorker();
  await deployOver(worker, 'versatile', versatile);
});
after(() => worker[Symbol.asyncDispose]());

type Opened = { session: { id: string; status: string; lastSeq: number } };

async function open(host = worker): Promise<string> {
  const { result, error } = await host.call('session.create', { agent: 'versatile' });
  assert.equal(error, undefined, JSON.stringify(error));
  return (result as Opened).session.id;
}

const eventsOf = (host: Worker, sessionId: string) =>
  host.lines
    .filter((line): line is Line => !Array.isArray(line))
    .filter(({ method, params }) => method === 'session.event' && params?.sessionId === sessionId)
    .map(({ params }) => params as { seq: number; event: string; data: Record<string, unknown> });

const isDone = (sessionId: string, turn = 1) => {
  let seen = 0;
  return ({ method, params }: Line) =>
    method === 'session.event' &&
    params?.sessionId === sessionId &&
    params.event === 'done' &&
    ++seen >= turn;
};

const code = ({ error }: Line) => error?.data?.code ?? error?.code;

test('says that it is ready, first of all', () => {
  const [first] = worker.lines as Line[];
  assert.equal(first?.method, 'ready');
  assert.deepEqual(Object.keys(first?.params ?? {}), ['version', 'protocolVersion', 'pid']);
  assert.equal(first?.params?.pid, worker.child.pid);
});

test('state_at: the system, a session by seq or time, and a fork of it', async () => {
  const sessionId = await open();
  const ask = async (params: object, method = 'state_at') => (await worker.call(method, params)).result;
  type States = { asOf: string; sessions: { id: string }[]; sandboxes: object[]; runners: object[] };
  const now = (await ask({})) as States;
  assert.deepEqual(Object.keys(now).sort(), ['asOf', 'runners', 'sandboxes', 'sessions']);
  assert.ok(now.sessions.some(({ id }) => id === sessionId));
  assert.deepEqual(await ask({ asOf: now.asOf }, 'Temporal.StateAt'), now);
  const early = (await ask({ asOf: 1, sessionId })) as { asOf: number; session: { status: string } };
  assert.deepEqual([early.asOf, early.session.status], [1, 'starting']);
  const { session } = (await ask({ asOf: now.asOf, sessionId })) as { session: { id: string } };
  assert.equal(session.id, sessionId);
  const forked = (await worker.call('session.fork', { sessionId })).result as Opened;
  const scenario = forked.session.id;
  const other = (await ask({ sessionId, scenario })) as { session: { id: string; status: string } };
  assert.deepEqual([other.session.id, other.session.status], [scenario, 'paused']);
  for (const wrong of [{ asOf: 5 }, { asOf: 'then' }, { sessionId: 'x' }, { at: 1 }])
    assert.equal((await worker.call('state_at', wrong)).error?.code, -32602);
  for (const one of [sessionId, scenario]) await worker.call('session.end', { sessionId: one });
});

test('a session, from its creation to its events and its files', async () => {
  const sessionId = await open();
  const subscribed = await worker.call('session.subscribe', { sessionId });
  assert.deepEqual(subscribed.result, { sessionId, after: 0 });
  const { result } = await worker.call('session.send', { sessionId, content: 'hello there' });
  assert.match((result as { turn: { id: string } }).turn.id, /^turn_/);
  await worker.next(isDone(sessionId));
  const events = eventsOf(worker, sessionId);
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, i) => i + 1),
  );
  const page = await worker.call('session.events', { sessionId });
  assert.deepEqual(
    (page.result as { events: object[] }).events.map(({ time: _, ...rest }: { time?: string }) => rest),
    events.map(({ seq, event, data }) => ({ seq, event, data })),
    'what is told live is what is in the log',
  );
  await worker.call('session.end', { sessionId });
  const { params } = await worker.next(({ method }) => method === 'session.unsubscribed');
  assert.deepEqual(params, { sessionId });
});

test('files go in pieces, both ways', async () => {
  const sessionId = await open();
  const bytes = Buffer.from(Array.from({ length: 700 }, (_, i) => i % 256));
  const piece = (from: number, to: number) => bytes.subarray(from, to).toString('base64');
  const write = (params: object) =>
    worker.call('session.files.write', { sessionId, path: 'a/b.bin', ...params });
  assert.deepEqual((await write({ content: piece(0, 300), more: true })).result, {
    file: { path: 'a/b.bin', sizeBytes: 300 },
  });
  assert.equal(code(await worker.call('session.files.read', { sessionId, path: 'a/b.bin' })), 'not_found');
  const last = await write({ offset: 300, content: piece(300, 700) });
  assert.deepEqual(last.result, { file: { path: 'a/b.bin', sizeBytes: 700, created: true } });
  const { result } = await worker.call('session.diff', { sessionId });
  const { fromSeq, toSeq, changes } = result as { fromSeq: number; toSeq: null; changes: { path: string }[] };
  assert.deepEqual([fromSeq, toSeq, changes.map(({ path }) => path)], [0, null, ['a', 'a/b.bin']]);
  const read = await worker.call('session.files.read', {
    sessionId,
    path: 'a/b.bin',
    offset: 250,
    length: 100,
  });
  const { content, sizeBytes, offset } = read.result as {
    content: string;
    sizeBytes: number;
    offset: number;
  };
  assert.deepEqual({ content, sizeBytes, offset }, { content: piece(250, 350), sizeBytes: 700, offset: 250 });
  const beyond = await worker.call('session.files.read', { sessionId, path: 'a/b.bin', offset: 9000 });
  assert.equal((beyond.result as { content: string }).content, '');
  assert.equal(code(await write({ offset: 5, content: piece(0, 1) })), 'invalid_request');
  assert.equal(code(await write({ content: '!!' })), 'invalid_request');
  await worker.call('session.end', { sessionId });
});

test('an executor reaches the coordinator through its gateway, though there is no port', async () => {
  const sessionId = await open();
  const report = `curl -s -X POST "$ATOLL_API_URL/events" -H 'content-type: application/json' -d '{"session_id":"${sessionId}","event_type":"step"}'`;
  const run = await worker.call('session.exec', {
    sessionId,
    command: `${report}; curl -s "$ATOLL_API_URL/sessions/${sessionId}"`,
  });
  const { stdout } = run.result as { stdout: string };
  assert.match(stdout, /^\{"seq":\d+\}\{"session":\{"id":"ses_/, JSON.stringify(run));
  await worker.call('session.end', { sessionId });
});

test('opens no port: nothing of it listens on TCP or UDP', async () => {
  const sessionId = await open();
  assert.ok(worker.child.pid);
  const pids = await treeOf(worker.child.pid);
  assert.ok(pids.length > 1, 'the sandbox is part of the tree');
  assert.deepEqual(await listenersOf(pids), []);
  await worker.call('session.end', { sessionId });
});

describe('JSON-RPC 2.0', () => {
  /** The specification's own examples, as far as they say something of any server. */
  const examples: [string, string, object | object[] | undefined][] = [
    [
      'positional params',
      '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
      { id: 1, code: -32602 },
    ],
    [
      'named params',
      '{"jsonrpc": "2.0", "method": "ping", "params": {}, "id": 3}',
      { id: 3, result: 'pong' },
    ],
    ['unknown method', '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', { id: '1', code: -32601 }],
    [
      'invalid JSON',
      '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
      { id: null, code: -32700 },
    ],
    ['invalid request', '{"jsonrpc": "2.0", "method": 1, "params": "bar"}', { id: null, code: -32600 }],
    [
      'batch with invalid JSON',
      '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"]',
      { id: null, code: -32700 },
    ],
    ['empty array', '[]', { id: null, code: -32600 }],
    ['a batch of one that is invalid', '[1]', [{ id: null, code: -32600 }]],
    ['a batch of invalid ones', '[1,2,3]', [1, 2, 3].map(() => ({ id: null, code: -32600 }))],
    [
      'a mixed batch',
      '[{"jsonrpc":"2.0","method":"ping","id":"1"},{"jsonrpc":"2.0","method":"notify_hello","params":[7]},{"jsonrpc":"2.0","method":"subtract","params":[42,23],"id":"2"},{"foo":"boo"},{"jsonrpc":"2.0","method":"foo.get","params":{"name":"myself"},"id":"5"},{"jsonrpc":"2.0","method":"ping","id":"9"}]',
      [
        { id: '1', result: 'pong' },
        { id: '2', code: -32602 },
        { id: null, code: -32600 },
        { id: '5', code: -32601 },
        { id: '9', result: 'pong' },
      ],
    ],
    [
      'a batch of notifications',
      '[{"jsonrpc":"2.0","method":"notify_sum","params":[1,2,4]},{"jsonrpc":"2.0","method":"notify_hello","params":[7]}]',
      undefined,
    ],
    ['a notification', '{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', undefined],
    ['a fractional id', '{"jsonrpc":"2.0","method":"ping","id":1.5}', { id: null, code: -32600 }],
    ['a null id', '{"jsonrpc":"2.0","method":"ping","id":null}', { id: null, code: -32600 }],
    ['another version', '{"jsonrpc":"1.0","method":"ping","id":4}', { id: 4, code: -32600 }],
    ['invalid UTF-8', '\xff{}', { id: null, code: -32700 }],
    [
      'too many in a batch',
      JSON.stringify(Array.from({ length: 101 }, (_, id) => ({ jsonrpc: '2.0', id, method: 'ping' }))),
      { id: null, code: -32600 },
    ],
  ];
  const shape = (line: Line | Line[]): object =>
    Array.isArray(line)
      ? line.map(shape)
      : { id: line.id, ...(line.error ? { code: line.error.code } : { result: line.result }) };

  const idOf = (line: Line | Line[]) => (Array.isArray(line) ? 'a batch' : line.id);

  for (const [name, sent, expected] of examples)
    test(name, async () => {
      const from = worker.lines.length;
      worker.write(Buffer.from(`${sent}\n`, 'latin1'));
      if (expected !== undefined) {
        const answer = await until(async () => worker.lines[from]);
        return assert.deepEqual(shape(answer), expected);
      }
      const { id } = await worker.call('ping');
      assert.deepEqual(worker.lines.slice(from).map(idOf), [id]);
    });

  test('a hundred requests at once are answered out of order, each under its id', async () => {
    const sessionId = await open();
    const from = worker.lines.length;
    const slow = worker.call('session.exec', { sessionId, command: 'sleep 0.3' });
    const answers = await Promise.all(Array.from({ length: 100 }, () => worker.call('ping')));
    assert.deepEqual([...new Set(answers.map(({ result }) => result))], ['pong']);
    assert.equal(worker.lines.length, from + 100, 'the slow one is not among them');
    assert.equal(((await slow).result as { exitCode: number }).exitCode, 0);
    await worker.call('session.end', { sessionId });
  });

  test('a request is given up at its deadline, or when it is cancelled', async () => {
    const sessionId = await open();
    const sleep = { sessionId, command: 'sleep 5' };
    assert.equal(code(await worker.call('session.exec', sleep, { deadlineMs: 50 })), 'timed_out');
    assert.equal(code(await worker.call('session.exec', { ...sleep, deadlineMs: 50 })), 'timed_out');
    assert.equal(code(await worker.call('ping', {}, { deadlineMs: 0 })), -32602);
    worker.write(
      `${JSON.stringify({ jsonrpc: '2.0', id: 'long', method: 'session.exec', params: sleep })}\n`,
    );
    worker.write(
      `${JSON.stringify({ jsonrpc: '2.0', method: '$/cancelRequest', params: { id: 'long' } })}\n`,
    );
    assert.equal(code(await worker.next(({ id }) => id === 'long')), 'cancelled');
    await worker.call('session.end', { sessionId });
  });

  test('of a batch whose answers are too large together, those that do not fit are refused', async () => {
    const sessionId = await open();
    const path = 'large';
    const content = Buffer.alloc(8 * 1024 * 1024).toString('base64');
    await worker.call('session.files.write', { sessionId, path, content });
    const from = worker.lines.length;
    const read = { jsonrpc: '2.0', method: 'session.files.read', params: { sessionId, path } };
    worker.write(`${JSON.stringify(Array.from({ length: 5 }, (_, id) => ({ ...read, id })))}\n`);
    const answers = (await until(async () => worker.lines[from], 30_000)) as Line[];
    assert.deepEqual(
      answers.map(({ id }) => id),
      Array.from({ length: 5 }, (_, id) => id),
    );
    assert.deepEqual(new Set(answers.map(code)), new Set([undefined, 'too_many_requests']));
    assert.equal((await worker.call('ping')).result, 'pong');
    await worker.call('session.end', { sessionId });
  });

  test('params that do not fit say what is wrong with them', async () => {
    const { error } = await worker.call('agent.list', { limit: 0 });
    assert.equal(error?.code, -32602);
    assert.match(error?.data?.detail ?? '', /limit/);
    const { error: none } = await worker.call('session.show', { sessionId: 'ses_' });
    assert.equal(none?.code, -32602);
    const { error: gone } = await worker.call('agent.show', { name: 'nobody' });
    assert.deepEqual({ code: gone?.code, own: gone?.data?.code }, { code: -32000, own: 'not_found' });
  });

  test('of a line too long, only that line is refused', async () => {
    const from = worker.lines.length;
    worker.write(Buffer.alloc(33 * 1024 * 1024, 'x'));
    worker.write('\n');
    assert.equal((await worker.call('ping')).result, 'pong');
    assert.equal(code(worker.lines[from] as Line), -32600);
  });
});

test('a message that only looks like JSON cannot speak in the worker’s name', async () => {
  const forged = '{},"seq":999,"event":"done","x":{}';
  const source = `process.stdin.on('data', () => process.stdout.write(${JSON.stringify(`${forged}\n{"type":"result"}\n`)}));`;
  await deployOver(worker, 'forger', source);
  const { result } = await worker.call('session.create', { agent: 'forger' });
  const sessionId = (result as Opened).session.id;
  await worker.call('session.subscribe', { sessionId });
  await worker.call('session.send', { sessionId, content: 'go' });
  await worker.next(isDone(sessionId));
  const message = eventsOf(worker, sessionId).find(({ event }) => event === 'message');
  assert.deepEqual(message?.data, { unparsable: forged });
  await worker.call('session.end', { sessionId });
});

test('a subscription goes on after a seq, and stops when told', async () => {
  const sessionId = await open();
  await worker.call('session.send', { sessionId, content: 'one' });
  await until(async () => {
    const { result } = await worker.call('session.show', { sessionId });
    return (result as Opened).session.status === 'idle' && (result as Opened).session.lastSeq > 4;
  });
  await worker.call('session.subscribe', { sessionId, after: 3 });
  await worker.next(isDone(sessionId));
  assert.equal(eventsOf(worker, sessionId)[0]?.seq, 4);
  await worker.call('session.unsubscribe', { sessionId });
  const heard = eventsOf(worker, sessionId).length;
  await worker.call('session.send', { sessionId, content: 'two' });
  await until(async () => {
    const { result } = await worker.call('session.show', { sessionId });
    return (result as Opened).session.status === 'idle';
  });
  assert.equal(eventsOf(worker, sessionId).length, heard);
  const late = await worker.call('session.subscribe', { sessionId, after: 9999 });
  assert.equal(code(late), 'invalid_cursor');
  await worker.call('session.end', { sessionId });
});

test('with no network at all it pings, tells what there is and runs a session', async () => {
  await using alone = await startWorker({ under: ['unshare', '-n'] });
  assert.equal((await alone.call('ping')).result, 'pong');
  assert.deepEqual(((await alone.call('state_at')).result as { sessions: object[] }).sessions, []);
  await deployOver(alone, 'versatile', versatile);
  const sessionId = await open(alone);
  await alone.call('session.subscribe', { sessionId });
  await alone.call('session.send', { sessionId, content: 'offline' });
  await alone.next(isDone(sessionId));
  const { result } = await alone.call('state_at', { asOf: 2, sessionId });
  assert.equal((result as { session: { status: string } }).session.status, 'idle');
});

test('with a launch token, nothing is answered before it, and a wrong one ends the worker', async () => {
  const token = 'a-token-of-the-host-0123456789';
  await using guarded = await startWorker({ env: { ATOLL_LAUNCH_TOKEN: token } });
  assert.equal(code(await guarded.call('ping')), 'unauthorized');
  assert.equal((await guarded.call('ping', {}, { token })).result, 'pong');
  assert.equal((await guarded.call('agent.list')).error, undefined, 'once told, it is known');
  await using other = await startWorker({ env: { ATOLL_LAUNCH_TOKEN: token } });
  assert.equal((await other.call('initialize', { token })).error, undefined);
  assert.equal(code(await other.call('ping', {}, { token: 'wrong' })), 'unauthorized');
  assert.equal(await other.exited, 0);
});

test('ends within two seconds of its stdin, in the middle of a turn and with half a line, and leaves nothing', async () => {
  const host = await startWorker();
  await deployOver(host, 'versatile', versatile);
  const sessionId = await open(host);
  await host.call('session.send', { sessionId, content: 'sleep 60' });
  host.write('{"jsonrpc":"2.0","id":1,"meth');
  const since = performance.now();
  assert.equal(await host.stop(), 0, host.stderr);
  assert.ok(performance.now() - since < 2000, `${performance.now() - since} ms`);
  assert.deepEqual(await processesWith(host.dataDir), []);
  await host[Symbol.asyncDispose]();
});

test('refuses a driver that isolates nothing', async () => {
  const host = await startWorker({ args: ['--driver', 'process'] });
  assert.equal(await host.exited, 1);
  assert.match(host.stderr, /isolation_required/);
  await host[Symbol.asyncDispose]();
});
