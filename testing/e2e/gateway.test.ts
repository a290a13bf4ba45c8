/**
 * The gateway of a real sandbox: an executor that knows `ATOLL_API_URL` and its session's id, and no secret, says what it
 * has to say; a hostile one reaches nothing but that.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { errorRegistry, isErrorCode, newId, type Operation, operations } from '@atoll/protocol';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll } from '../atoll.ts';
import { assertProblem, createAsk, json } from '../raw-http.ts';

type Reply = { status: number; body: Record<string, unknown> & { code?: string } };

async function open(atoll: Atoll): Promise<string> {
  return (await atoll.client.call('session.create', { agent: 'versatile' })).session.id;
}

async function run(atoll: Atoll, sessionId: string, command: string): Promise<string> {
  const end = await atoll.client.call('session.exec', { sessionId, command, timeoutMs: 30_000 });
  assert.equal(end.exitCode, 0, end.stderr || end.detail);
  return end.stdout;
}

/** Runs a module in the sandbox. `ask(method, path, body, headers)` asks the gateway, path and all as they are. */
async function runModule(atoll: Atoll, sessionId: string, source: string): Promise<string> {
  const ask = `
import http from 'node:http';
const own = process.env.ATOLL_SESSION_ID;
const base = new URL(process.env.ATOLL_API_URL);
const ask = (method, path, body, headers = {}) => new Promise((resolve, reject) => {
  if (body !== undefined) headers = { 'content-type': 'application/json', ...headers };
  const prefix = base.pathname.replace(/\\/$/, '');
  const target = path.startsWith('/') ? prefix + path : path;
  const request = http.request({ host: base.hostname, port: base.port, method, path: target, headers, agent: false }, async (response) => {
    const text = Buffer.concat(await response.toArray()).toString();
    let json = {};
    try { json = JSON.parse(text); } catch {}
    resolve({ status: response.statusCode, body: json });
  });
  request.on('upgrade', (response) => resolve({ status: response.statusCode, body: {} }));
  request.on('error', reject);
  request.end(body === undefined ? undefined : JSON.stringify(body));
});
`;
  const content = new TextEncoder().encode(ask + source);
  await atoll.client.writeFile(sessionId, 'ask.mjs', content);
  return run(atoll, sessionId, 'node ask.mjs');
}

async function eventsOf(atoll: Atoll, sessionId: string) {
  return (await atoll.client.call('session.events', { sessionId, limit: 1000 })).events;
}

async function showOf(atoll: Atoll, sessionId: string) {
  return (await atoll.client.call('session.show', { sessionId })).session;
}

for (const driver of ['bubblewrap', 'process'])
  describe(`an executor, with the driver ${driver}`, () => {
    let atoll: Atoll;
    let sessionId: string;
    before(async () => {
      atoll = await startAtoll({ args: ['--driver', driver, '--hostname', 'the-runner'] });
      await deployProgram(atoll.client, 'versatile', versatile);
      sessionId = await open(atoll);
    });
    after(() => atoll[Symbol.asyncDispose]());

    test('is told one local URL before it starts, and its session', async () => {
      const said = await run(
        atoll,
        sessionId,
        'echo "$ATOLL_API_URL $AGENT_ORCHESTRATOR_API_URL $ATOLL_SESSION_ID"',
      );
      const [url = '', same, id] = said.trim().split(' ');
      const form =
        driver === 'process' ? /^http:\/\/127\.0\.0\.1:\d+\/s\/[\w-]{32}$/ : /^http:\/\/127\.0\.0\.1:\d+$/;
      assert.match(url, form);
      assert.deepEqual([same, id], [url, sessionId]);
    });

    test('binds, reports and patches metadata with the client’s file', async () => {
      const source = await readFile(
        new URL('../../packages/client/src/session-client.ts', import.meta.url),
        'utf8',
      );
      await atoll.client.writeFile(sessionId, 'session-client.ts', new TextEncoder().encode(source));
      const answers = await runModule(
        atoll,
        sessionId,
        `
import { createSessionClient } from './session-client.ts';
const client = createSessionClient({ url: process.env.ATOLL_API_URL, sessionId: own });
const executor = { executorSessionId: 'mine', projectDir: '/workspace' };
console.log(JSON.stringify([
  await client.bind(executor), await client.bind(executor),
  await client.addEvent('step', { n: 1 }),
  await client.updateMetadata({ title: 'a', gone: 1 }), await client.updateMetadata({ gone: null, deep: { a: 1 } }),
]));`,
      );
      const binding = {
        executorSessionId: 'mine',
        projectDir: '/workspace',
        hostname: 'the-runner',
        executorProfile: 'program',
      };
      const metadata = { title: 'a', deep: { a: 1 } };
      const [bound, again, { seq }, , last] = JSON.parse(answers);
      assert.deepEqual([bound, again, last], [{ binding }, { binding }, { metadata }]);
      const session = await showOf(atoll, sessionId);
      assert.deepEqual([session.binding, session.metadata], [binding, metadata]);
      const events = await eventsOf(atoll, sessionId);
      const reports = events.filter(({ event }) => event === 'report');
      assert.deepEqual(
        reports.map(({ data }) => (data as { event_type: string }).event_type),
        ['bind', 'step', 'metadata', 'metadata'],
      );
      assert.deepEqual(reports[1]?.data, { n: 1, event_type: 'step' });
      assert.equal(reports[1]?.seq, seq);
    });

    test('reads itself, its events as they come, and the list of its files', async () => {
      const said = await runModule(
        atoll,
        sessionId,
        `
const live = await fetch(process.env.ATOLL_API_URL + '/sessions/' + own + '/events?after=1', { headers: { accept: 'text/event-stream' } });
let text = '';
for await (const chunk of live.body) {
  text += Buffer.from(chunk).toString();
  if (text.includes('event: ready') && !text.includes('"later"')) await ask('POST', '/events', { session_id: own, event_type: 'later' });
  if (text.includes('"later"')) break;
}
const replies = [await ask('GET', '/sessions/' + own), await ask('GET', '/api/sessions/' + own + '/files')];
console.log(JSON.stringify([live.status, ...replies.map(({ status }) => status), replies[0].body.session.id, replies[1].body.files.length > 0]));
process.exit();`,
      );
      assert.deepEqual(JSON.parse(said), [200, 200, 200, sessionId, true]);
    });
  });

describe('the example of docs/gateway.md', () => {
  test('works with curl as it stands', async (t) => {
    const document = await readFile(new URL('../../docs/gateway.md', import.meta.url), 'utf8');
    const example = /```sh\n(curl.*?)```/s.exec(document)?.[1] ?? assert.fail('there is no example');
    await using atoll = await startAtoll();
    await deployProgram(atoll.client, 'versatile', versatile);
    const sessionId = await open(atoll);
    const { exitCode } = await atoll.client.call('session.exec', { sessionId, command: 'command -v curl' });
    if (exitCode !== 0) return t.skip('there is no curl here');
    await run(atoll, sessionId, `set -e\n${example.replaceAll('curl ', 'curl --fail-with-body -sS ')}`);
    const session = await showOf(atoll, sessionId);
    assert.equal(session.binding.executorSessionId, 'my-conversation');
    assert.equal(session.metadata.title, 'Sorting the notes');
    const types = (await eventsOf(atoll, sessionId)).map(
      ({ data }) => (data as { event_type?: string }).event_type,
    );
    assert.ok(types.includes('progress'));
  });
});

describe('a hostile executor', () => {
  let atoll: Atoll;
  let sessionId: string;
  let other: string;
  before(async () => {
    atoll = await startAtoll();
    await deployProgram(atoll.client, 'versatile', versatile);
    [sessionId, other] = await Promise.all([open(atoll), open(atoll)]);
  });
  after(() => atoll[Symbol.asyncDispose]());

  async function replies(asked: readonly (readonly unknown[])[]): Promise<Reply[]> {
    const source = `
const replies = [];
for (const [method, path, body, headers] of ${JSON.stringify(asked)}) replies.push(await ask(method, path.replaceAll('{own}', own), body, headers ?? {}));
console.log(JSON.stringify(replies));`;
    return JSON.parse(await runModule(atoll, sessionId, source));
  }

  async function assertAll(
    asked: readonly (readonly unknown[])[],
    status: number,
    code: string,
  ): Promise<void> {
    assert.ok(isErrorCode(code) && errorRegistry[code].status === status);
    for (const [at, reply] of (await replies(asked)).entries())
      assert.deepEqual(
        [reply.status, reply.body.code],
        [status, code],
        `${asked[at]} ${JSON.stringify(reply)}`,
      );
  }

  test('says nothing for another session', async () => {
    await assertAll(
      [
        ['POST', '/bind', { session_id: other, executor_session_id: 'stolen' }],
        ['POST', '/events', { session_id: other, event_type: 'x' }],
        ['PATCH', '/metadata', { session_id: other, title: 'x' }],
      ],
      403,
      'wrong_session',
    );
    await assertAll(
      [
        ['POST', `/sessions/${other}/bind`, { executor_session_id: 'stolen' }],
        ['POST', `/api/sessions/${other}/events`, { event_type: 'x' }],
        ['PATCH', `/sessions/${other}/metadata`, { title: 'x' }],
        ['GET', `/sessions/${other}`],
        ['GET', `/sessions/${other}/events`],
        ['GET', `/sessions/${other}/files`],
        ['GET', `/sessions/${newId('session')}`],
      ],
      403,
      'forbidden_for_session',
    );
    const session = await showOf(atoll, other);
    assert.deepEqual([session.binding.executorSessionId, session.metadata, session.lastSeq], [null, {}, 2]);
  });

  test('does nothing for itself that is somebody else’s to do', async () => {
    const { lastSeq } = await showOf(atoll, sessionId);
    await assertAll(
      [
        ['POST', '/sessions/{own}/messages', { content: 'echo me' }],
        [
          'POST',
          '/sessions/{own}/messages',
          { content: 'echo me' },
          { authorization: `Bearer ${atoll.key}` },
        ],
        ['POST', '/sessions/{own}/interrupt', {}],
        ['POST', '/sessions/{own}/exec', { command: 'true' }],
        ['DELETE', '/sessions/{own}'],
        ['PUT', '/sessions/{own}/files/x', 'x'],
        ['GET', '/sessions/{own}/files/ask.mjs'],
        ['POST', '/api/internal/sessions/{own}/token', { epoch: 1 }],
        ['GET', '/sessions'],
        ['GET', '/api/agents'],
        ['POST', '/api/sessions', { agent: 'versatile' }],
        ['GET', '/api/keys'],
        ['POST', '/api/keys', { role: 'admin' }],
        ['GET', '/metrics'],
      ],
      403,
      'forbidden_for_session',
    );
    assert.equal((await showOf(atoll, sessionId)).lastSeq, lastSeq);
  });

  test('has of all operations only those that are its own', async () => {
    const all = Object.entries<Operation>(operations).map(([name, { rest, role, bySession }]) => {
      const path = rest.path.replace(':sessionId', '{own}').replace(/[:*]\w+/g, 'x');
      return {
        name,
        asked: [rest.method, path, ...(/GET|DELETE/.test(rest.method) ? [] : [{}])],
        role,
        bySession,
      };
    });
    const own = all.filter(({ bySession }) => bySession).map(({ name }) => name);
    assert.deepEqual(own, [
      'session.show',
      'session.events',
      'session.bind',
      'session.report',
      'session.metadata.update',
      'session.files.list',
    ]);
    const foreign = all.filter(({ role, bySession }) => role !== 'public' && !bySession);
    await assertAll(
      foreign.map(({ asked }) => asked),
      403,
      'forbidden_for_session',
    );
    assert.equal((await showOf(atoll, sessionId)).status, 'idle');
  });

  test('forges no event: what it reports is a report, whatever it is called', async () => {
    const forged = { session_id: sessionId, event_type: 'done', event: 'done', status: 'completed', id: 1 };
    const frame = { session_id: sessionId, event_type: 'x\n\nevent: done\ndata: {}\n\n' };
    const [first, second] = await replies([
      ['POST', '/events', forged],
      ['POST', '/events', frame],
    ]);
    assert.deepEqual([first?.status, second?.status], [201, 201]);
    const events = await eventsOf(atoll, sessionId);
    assert.ok(!events.some(({ event }) => event === 'done'));
    const { session_id: _, ...data } = forged;
    assert.deepEqual(events.find(({ seq }) => seq === first?.body.seq)?.data, data);
    assert.equal(events.find(({ seq }) => seq === second?.body.seq)?.event, 'report');
  });

  test('reports nothing under a name that Atoll itself reports by', async () => {
    const names = ['access', 'access_dropped', 'bind', 'metadata', 'stderr'];
    await assertAll(
      names.flatMap((event_type) => [
        ['POST', '/events', { session_id: sessionId, event_type, host: 'x', decision: 'refused' }],
        ['POST', '/sessions/{own}/events', { event_type, host: 'x', decision: 'refused' }],
      ]),
      400,
      'invalid_request',
    );
  });

  test('says nothing in the runner’s name', async () => {
    const lie = { hostname: 'a-lie', executor_profile: 'a-lie' };
    const asked = [
      ['POST', '/bind', { session_id: sessionId, executor_session_id: 'e', ...lie }],
      ['POST', '/sessions/{own}/bind', { executor_session_id: 'f', ...lie }],
      ['POST', '/api/sessions/{own}/bind', { executor_session_id: 'g', ...lie }],
    ];
    for (const [at, each] of asked.entries()) {
      const [bound] = await replies([each]);
      assert.equal(bound?.status, 200);
      const { binding } = await showOf(atoll, sessionId);
      assert.equal(binding.executorSessionId, ['e', 'f', 'g'][at]);
      assert.notEqual(binding.hostname, 'a-lie');
      assert.equal(binding.executorProfile, 'program');
    }
  });

  test('gets nowhere by a path trick or another protocol', async () => {
    await assertAll(
      [
        ['GET', '//127.0.0.1/api/agents'],
        ['GET', `/sessions/{own}/../${other}`],
        ['GET', `/sessions/{own}/%2e%2e/${other}`],
        ['GET', `/sessions/{own}%2f..%2f${other}`],
        ['GET', `/sessions\\${other}`],
        ['GET', '/sessions/{own}/events', undefined, { connection: 'upgrade', upgrade: 'websocket' }],
      ],
      400,
      'invalid_request',
    );
  });

  test('gets to the coordinator by no proxy request either', async () => {
    await assertAll([['GET', `${atoll.url}/api/agents`]], 403, 'egress_refused');
  });

  test('finds the token of its session in no answer', async () => {
    const said = await runModule(
      atoll,
      sessionId,
      `
const paths = ['/sessions/' + own, '/sessions/x', '/nope', '/docs', '/openapi.json', '/health'];
for (const path of paths) for (const method of ['GET', 'POST', 'TRACE', 'OPTIONS']) {
  const response = await new Promise((resolve, reject) => http.request({ host: base.hostname, port: base.port, method, path, agent: false }, resolve).on('error', reject).end());
  console.log(JSON.stringify(response.headers) + Buffer.concat(await response.toArray()));
}`,
    );
    assert.match(said, /unknown_route/);
    assert.doesNotMatch(said, /atoll_session_/);
  });
});

test('the token of an assignment that is over counts no more; what was said outlasts a crash', async () => {
  await using atoll = await startAtoll({ args: ['--capacity', '1'] });
  const ask = createAsk(atoll);
  await deployProgram(atoll.client, 'versatile', versatile);
  const sessionId = await open(atoll);
  const path = `/api/sessions/${sessionId}`;
  const { secret } = await atoll.client.call('key.create', { role: 'runner' });
  const tokenAt = async (epoch: number) =>
    ask('POST', `/api/internal/sessions/${sessionId}/token`, { ...json({ epoch }), key: secret });
  const token = async (epoch: number) =>
    String((JSON.parse((await tokenAt(epoch)).text) as { token: string }).token);
  const bind = (key: string, name: string) =>
    ask('POST', `${path}/bind`, { ...json({ executor_session_id: name }), key });

  assertProblem(await tokenAt(0), 409, 'stale_epoch');
  assertProblem(await tokenAt(2), 409, 'stale_epoch');
  const old = await token(1);
  assert.equal((await bind(old, 'first')).status, 200);

  // Its sandbox makes room for another, and a message brings it back in a new one.
  await open(atoll);
  await Array.fromAsync(atoll.client.send(sessionId, { content: 'hello' }));
  assert.equal((await bind(old, 'first')).status, 200, 'the same again');
  assertProblem(await bind(old, 'second'), 409, 'already_bound');
  assertProblem(await ask('GET', path, { key: old }), 409, 'stale_epoch');
  for (const [method, to, body] of [
    ['POST', 'events', { event_type: 'late' }],
    ['PATCH', 'metadata', { late: true }],
  ] as const)
    assertProblem(await ask(method, `${path}/${to}`, { ...json(body), key: old }), 409, 'stale_epoch');
  assertProblem(await tokenAt(1), 409, 'stale_epoch');
  const current = await token(2);
  assert.equal((await bind(current, 'second')).status, 200);

  const large = { pad: 'x'.repeat(40 * 1024) };
  assert.equal((await ask('PATCH', `${path}/metadata`, json(large))).status, 200);
  assertProblem(await ask('PATCH', `${path}/metadata`, json({ more: large })), 413, 'body_too_large');
  assertProblem(await ask('PATCH', `${path}/metadata`, json({ sessionId })), 400, 'invalid_request');
  assertProblem(await ask('POST', `${path}/bind`, json({ project_dir: '/x' })), 400, 'invalid_request');
  assertProblem(await bind(atoll.key, ''), 400, 'invalid_request');
  assertProblem(await ask('POST', `${path}/events`, json({ type: 'x' })), 400, 'invalid_request');
  await Promise.all(
    [1, 2, 3, 4].map((n) => ask('PATCH', `${path}/metadata`, json({ pad: null, [`n${n}`]: n }))),
  );

  await atoll.kill();
  await atoll.restart();
  const session = await showOf(atoll, sessionId);
  assert.equal(session.binding.executorSessionId, 'second');
  assert.deepEqual(session.metadata, { n1: 1, n2: 2, n3: 3, n4: 4 });
  assertProblem(await ask('GET', path, { key: current }), 401, 'unauthorized');
  await atoll.client.call('session.end', { sessionId });
  assertProblem(await bind(atoll.key, 'third'), 409, 'session_ended');
  assertProblem(await tokenAt(2), 409, 'session_ended');
});
