/**
 * Bad input over HTTP (I11): whatever comes, the answer is a problem with a code of the registry, nobody else is harmed,
 * and the next turn works.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll } from '../atoll.ts';
import { type Ask, assertProblem, createAsk, json, sendBytes } from '../raw-http.ts';

const MiB = 1024 * 1024;
let atoll: Atoll;
let ask: Ask;
let sessionId: string;
before(async () => {
  atoll = await startAtoll();
  ask = createAsk(atoll);
  await deployProgram(atoll.client, 'versatile', versatile, { limits: { diskMb: 8 } });
  sessionId = (await atoll.client.call('session.create', { agent: 'versatile' })).session.id;
});
after(() => atoll[Symbol.asyncDispose]());

afterEach(async () => {
  const events = await Array.fromAsync(atoll.client.send(sessionId, { content: 'still here' }));
  assert.equal(JSON.parse(events.at(-1)?.text ?? '').status, 'completed', 'a turn works afterwards');
  assert.doesNotMatch(atoll.stderr, /a request failed/, 'nothing was a surprise');
});

const files = (path: string) => `/api/sessions/${sessionId}/files/${path}`;

/** Bytes resident in the server's process, at most so far. */
async function peakBytes(): Promise<number> {
  const status = await readFile(`/proc/${atoll.pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) * 1024;
}

test('what is not HTTP', async () => {
  const bearer = `Authorization: Bearer ${atoll.key}\r\n`;
  const post = `POST /api/sessions HTTP/1.1\r\nHost: x\r\n${bearer}Content-Type: application/json\r\n`;
  const bad = [
    'hello\r\n\r\n',
    'GET /health HTTP/9.1\r\nHost: x\r\n\r\n',
    'GET /health HTTP/1.1\r\nConnection: close\r\n\r\n',
    'GET /health HTTP/1.1\r\nHost: x\r\nNot A Header: x\r\n\r\n',
    'GET /health HTTP/1.1\r\nHost: x\r\nA: a\0b\r\n\r\n',
    `${post}Content-Length: many\r\n\r\n`,
    `${post}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${post}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
    Buffer.concat([Buffer.from('GET /'), Buffer.from([0xff, 0xc3, 0x28]), Buffer.from(' HTTP/1.1\r\n\r\n')]),
  ];
  for (const bytes of bad)
    assertProblem(await sendBytes(atoll.url, bytes), 400, 'invalid_request', JSON.stringify(String(bytes)));
  const long = ['/health', `/health?${'q'.repeat(20_000)}`].map(
    (path) => `GET ${path} HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(20_000)}\r\n\r\n`,
  );
  for (const bytes of long) assertProblem(await sendBytes(atoll.url, bytes), 431, 'headers_too_large');
  const expects = `GET /health HTTP/1.1\r\nHost: x\r\nExpect: the-unexpected\r\nConnection: close\r\n\r\n`;
  assert.equal((await sendBytes(atoll.url, expects)).status, 200);
});

test('addresses: bad escapes, no UTF-8, 10,000 characters', async () => {
  for (const path of ['%zz', '%ff', '%', 'a%c3%28'].flatMap((bad) => [`/api/agents/${bad}`, files(bad)]))
    assertProblem(await ask('GET', path), 400, 'invalid_request', path);
  const long = 'a'.repeat(10_000);
  assertProblem(await ask('GET', `/api/agents/${long}`), 400, 'invalid_request');
  assertProblem(await ask('GET', `/api/sessions/${long}`), 400, 'invalid_request');
  assertProblem(await ask('GET', `/api/sessions?cursor=${long}`), 400, 'invalid_request');
  assertProblem(await ask('GET', `/api/agents/..%2F..%2Fetc`), 400, 'invalid_request');
  assertProblem(await ask('GET', `/api/agents/a%00b`), 400, 'invalid_request');
  assertProblem(await ask('GET', `/${long}`), 404, 'unknown_route');
});

test('cursors that no page of their list ends with', async () => {
  const { sandboxId } = (await atoll.client.call('session.show', { sessionId })).session;
  const lists = [
    'agents',
    'sessions',
    'sandboxes',
    'jobs',
    'runners',
    'credentials',
    'keys',
    'usage',
    'state',
  ]
    .map((list) => `/api/${list}`)
    .concat(['approvals', 'snapshots', 'events', 'diff'].map((list) => `/api/sessions/${sessionId}/${list}`))
    .concat(`/api/sandboxes/${sandboxId}/snapshots`, '/api/usage?by=agent', '/api/usage?by=session');
  const none = ['', '-', '~', '/', 'a\0', '{}', '2026-01-01T00:00:00.000Z'];
  for (const list of lists)
    for (const cursor of none) {
      const path = `${list}${list.includes('?') ? '&' : '?'}cursor=${encodeURIComponent(cursor)}`;
      assertProblem(await ask('GET', path), 400, 'invalid_cursor', path);
    }
});

test('workspace paths, in every operation that takes one', async () => {
  const dots = ['..%2Fx', 'a%2F..%2F..%2Fx', '%2Fetc%2Fpasswd', 'a%00b', 'a%5Cb', 'a//b', 'a/%2e%2e/b'];
  const bad = [...dots, 'x'.repeat(10_000), 'd/'.repeat(40), 'n'.repeat(300)];
  for (const path of bad) {
    assertProblem(await ask('GET', files(path)), 400, 'invalid_path', path);
    assertProblem(await ask('PUT', files(path), { body: 'x' }), 400, 'invalid_path', path);
    assertProblem(await ask('DELETE', files(path)), 400, 'invalid_path', path);
    const list = await ask('GET', `/api/sessions/${sessionId}/files?prefix=${path.replace('//', '%2F%2F')}`);
    assertProblem(list, 400, 'invalid_path', path);
  }
  await atoll.client.call('session.exec', { sessionId, command: 'ln -s / out; ln -s ../.. up' });
  for (const path of ['out/etc/passwd', 'up/etc/passwd']) {
    assertProblem(await ask('GET', files(path)), 400, 'path_outside_workspace');
    assertProblem(await ask('PUT', files(path), { body: 'x' }), 400, 'path_outside_workspace');
    assertProblem(await ask('DELETE', files(path)), 400, 'path_outside_workspace');
    const list = await ask('GET', `/api/sessions/${sessionId}/files?prefix=${path}`);
    assertProblem(list, 400, 'path_outside_workspace');
  }
});

test('headers: no UTF-8, no seq, a seq that is not there', async () => {
  const events = `/api/sessions/${sessionId}/events`;
  const stream = (id: string) =>
    ask('GET', events, { headers: { accept: 'text/event-stream', 'last-event-id': id } });
  for (const id of ['x', '-1', '1.5', '0x1', '1e3', '', ' ', '\xff\xfe', '1, 2', '9'.repeat(5000)])
    assertProblem(await stream(id), 400, 'invalid_request', JSON.stringify(id));
  assertProblem(await stream('999999999999999'), 400, 'invalid_cursor');
  assertProblem(await ask('GET', events, { headers: { 'last-event-id': 'x' } }), 400, 'invalid_request');
  for (const query of ['after=x', 'after=-1', 'after=1&after=2', 'limit=1e3'])
    assertProblem(await ask('GET', `${events}?${query}`), 400, 'invalid_request', query);
  assertProblem(await ask('GET', `${events}?cursor=x`), 400, 'invalid_cursor');
  assertProblem(await ask('GET', '/api/agents', { key: '\xff\xfe\xfd' }), 401, 'unauthorized');
  const accepting = (accept: string) =>
    ask('POST', `/api/sessions/${sessionId}/messages`, { ...json({ content: 'x' }), headers: { accept } });
  assertProblem(await accepting('text/html'), 406, 'not_acceptable');
  assert.equal((await accepting('text/event-stream;q=0, Application/JSON')).status, 202);
  const name = { headers: { 'idempotency-key': 'k'.repeat(300) } };
  const content = json({ content: 'x' });
  assertProblem(
    await ask('POST', `/api/sessions/${sessionId}/messages`, { ...content, ...name }),
    400,
    'invalid_request',
  );
});

test('JSON: bombs, odd values, foreign and inherited names', async () => {
  const post = (body: string | Buffer) => ask('POST', '/api/sessions', { body });
  const bombs = [
    '['.repeat(1_000_000),
    `{"metadata":${'{"a":'.repeat(500_000)}1${'}'.repeat(500_000)},"agent":"versatile"}`,
    `{"agent":"versatile","metadata":{"a":[${'[],'.repeat(1_000_000)}0]}}`,
    `{"agent":"versatile","metadata":{"a":[${'0,'.repeat(1_500_000)}0]}}`,
    '{"agent":"\ud800',
    '{"agent":"versatile",}',
    '﻿{"agent":"versatile"}',
    '{"agent":"versatile","version":1e}',
    '{"agent":"versatile","metadata":{"a":NaN}}',
  ];
  for (const body of bombs) assertProblem(await post(body), 400, 'invalid_json', body.slice(0, 60));
  const utf8 = Buffer.from('{"agent":"versatile","metadata":{"a":"é"}}');
  assertProblem(await post(utf8.subarray(0, -4)), 400, 'invalid_json');
  assertProblem(
    await post(Buffer.from(utf8.toString('latin1'), 'latin1').fill(0xff, 38, 39)),
    400,
    'invalid_json',
  );
  const wrong = [
    ...['__proto__', 'constructor', 'toString', 'sessionId', 'surprise'].map((name) => `"${name}":{}`),
    `"version":${'9'.repeat(10_000)}`,
    '"version":1.5',
    '"version":-1',
    '"version":"1"',
    '"version":null',
    '"metadata":5',
    '"env":{"A":1}',
    '"env":{"A=B":"x"}',
    '"env":{"A":"\\u0000"}',
    '"allowedTools":"all"',
    '"demands":{"memoryMb":"much"}',
    '"permissionMode":"root"',
  ];
  for (const field of wrong)
    assertProblem(await post(`{"agent":"versatile",${field}}`), 400, 'invalid_request', field.slice(0, 60));
  for (const body of ['null', '5', '"x"', '[]', '[{"agent":"versatile"}]']) {
    assertProblem(await post(body), 400, 'invalid_request', body);
    assertProblem(
      await ask('POST', `/api/sessions/${sessionId}/interrupt`, { body }),
      400,
      'invalid_request',
      `${body}, where a body may be left out`,
    );
  }
  // Of two members with one name the last counts, wherever the name is looked at.
  assertProblem(await post('{"agent":"versatile","agent":"nobody"}'), 404, 'not_found');
  const exec = (params: object) => ask('POST', `/api/sessions/${sessionId}/exec`, json(params));
  assertProblem(await exec({ command: 'echo a\0b' }), 400, 'invalid_request');
  assertProblem(await exec({ command: 'pwd', cwd: 'a\0b' }), 400, 'invalid_request');
  for (const long of ['x'.repeat(128 * 1024 - 2), 'é'.repeat(64 * 1024)])
    assertProblem(await exec({ command: `: ${long}` }), 400, 'invalid_request');
  assert.equal((await exec({ command: `: ${'x'.repeat(128 * 1024 - 3)}` })).status, 200);
  const much = JSON.stringify(
    Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`V${at}`, 'x'.repeat(32_000)])),
  );
  assertProblem(await post(`{"agent":"versatile","env":${much}}`), 400, 'invalid_request');
});

test('compressed bodies, which nothing here unpacks', async () => {
  const gzip = { headers: { 'content-encoding': 'gzip' } };
  const message = { ...gzip, body: gzipSync('{"content":"x"}') };
  const send = ask('POST', `/api/sessions/${sessionId}/messages`, message);
  assertProblem(await send, 415, 'unsupported_media_type');
  assertProblem(
    await ask('PUT', files('packed'), { ...gzip, body: gzipSync('x') }),
    415,
    'unsupported_media_type',
  );
  const plain = { body: 'x', headers: { 'content-encoding': 'Identity' } };
  assert.equal((await ask('PUT', files('plain'), plain)).status, 200);
});

test('what belongs in the address is unknown in a body', async () => {
  assertProblem(await ask('POST', '/api/sandboxes', json({ wait: true })), 400, 'invalid_request');
  assertProblem(
    await ask('DELETE', `/api/sessions/${sessionId}`, json({ purge: true })),
    400,
    'invalid_request',
  );
});

test('bodies over the limit: announced, chunked, slow', async () => {
  const limit = 1 * MiB;
  const exec = `/api/sessions/${sessionId}/exec`;
  const big = `{"command":"${'x'.repeat(limit)}"}`;
  assertProblem(await ask('POST', exec, { body: big }), 413, 'body_too_large', 'announced');
  async function* chunked() {
    for (let at = 0; at < big.length; at += 64 * 1024) yield big.slice(at, at + 64 * 1024);
  }
  assertProblem(await ask('POST', exec, { body: chunked() }), 413, 'body_too_large', 'chunked');
  async function* slow() {
    for await (const piece of chunked()) {
      await delay(5);
      yield piece;
    }
  }
  assertProblem(await ask('POST', exec, { body: slow() }), 413, 'body_too_large', 'slow');
  async function* endless() {
    for (;;) yield Buffer.alloc(MiB, 120);
  }
  const before = await peakBytes();
  // Read on for a while, so that the answer is seen; then cut off.
  await assert.rejects(ask('POST', exec, { body: endless() }), { code: /ECONNRESET|EPIPE/ });
  assert.ok((await peakBytes()) - before < 128 * MiB);
});

test('uploads larger than the workspace has room for are told so, and leave nothing', async () => {
  async function* much() {
    for (let left = 20; left > 0; left--) yield Buffer.alloc(MiB, 120);
  }
  assertProblem(await ask('PUT', files('big'), { body: much() }), 413, 'body_too_large');
  assertProblem(await ask('PUT', files('big'), { body: Buffer.alloc(20 * MiB) }), 413, 'body_too_large');
  const { files: left } = await atoll.client.call('session.files.list', { sessionId });
  assert.deepEqual(
    left.filter(({ path }) => path === 'big' || path.endsWith('.tmp')),
    [],
  );
  assert.equal((await ask('PUT', files('empty'), { headers: { 'content-length': '0' } })).status, 200);
  assert.equal((await ask('PUT', files('small'), { body: 'x' })).status, 200);
});

test('an agent folder of 100,000 files is refused, in bounded time and memory', async () => {
  const many = Array.from({ length: 100_000 }, (_, i) => `{"path":"f${i}","content":"eA=="}`).join();
  const body = `{"name":"many","files":[${many}]}`;
  const before = { at: Date.now(), peak: await peakBytes() };
  const answer = await ask('POST', '/api/agents', { body });
  assert.equal(answer.status, 400);
  assert.ok(['invalid_agent', 'invalid_json'].includes(answer.body.code ?? ''), answer.body.code);
  assert.ok(Date.now() - before.at < 10_000);
  assert.ok((await peakBytes()) - before.peak < 512 * MiB);
  assertProblem(await ask('GET', '/api/agents/many'), 404, 'not_found');
});

test('agent folders: every path that is none, links and clashes', async () => {
  const file = (path: string) => ({ path, content: 'eA==' });
  const deploy = (...paths: string[]) =>
    ask('POST', '/api/agents', json({ name: 'bad', files: ['CLAUDE.md', ...paths].map(file) }));
  const bad = [
    '../x',
    'a/../../x',
    '/etc/x',
    'a\0b',
    'a\\b',
    'a//b',
    './a',
    '',
    'x'.repeat(10_000),
    '\ud800',
  ];
  for (const path of bad)
    assertProblem(await deploy(path), 400, 'invalid_path', JSON.stringify(path.slice(0, 40)));
  assertProblem(await deploy('a', 'a'), 400, 'invalid_agent');
  assertProblem(await deploy('a', 'a/b'), 400, 'invalid_agent');
  const link = { path: 'out', content: 'eA==', link: '/etc/passwd' };
  assertProblem(
    await ask('POST', '/api/agents', json({ name: 'bad', files: [file('CLAUDE.md'), link] })),
    400,
    'invalid_request',
  );
  const config = Buffer.from('{"executor":{"kind":"program","command":["no\\u0000de"]}}').toString('base64');
  const odd = { name: 'bad', files: [{ path: 'atoll.json', content: config }] };
  assertProblem(await ask('POST', '/api/agents', json(odd)), 400, 'invalid_agent');
  assertProblem(await ask('GET', '/api/agents/bad'), 404, 'not_found');
});
