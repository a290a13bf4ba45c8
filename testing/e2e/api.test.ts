/** The HTTP edge: keys, tenants, problems, bad input. Each refusal is typed, and the server goes on. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Client, createClient } from '@atoll/client';
import { operations } from '@atoll/protocol';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll } from '../atoll.ts';
import { type Ask, assertProblem, createAsk, json } from '../raw-http.ts';

let atoll: Atoll;
let sessionId: string;
let ask: Ask;
before(async () => {
  atoll = await startAtoll();
  ask = createAsk(atoll);
  await deployProgram(atoll.client, 'versatile', versatile);
  sessionId = (await atoll.client.call('session.create', { agent: 'versatile' })).session.id;
});
after(() => atoll[Symbol.asyncDispose]());

test('every operation of the table has its route, and OpenAPI lists just these', async () => {
  const document = (await (await fetch(`${atoll.url}/openapi.json`)).json()) as {
    openapi: string;
    paths: Record<string, Record<string, { operationId: string }>>;
  };
  assert.equal(document.openapi, '3.1.0');
  const described = Object.values(document.paths).flatMap((methods) =>
    Object.values(methods).map((operation) => operation.operationId),
  );
  assert.deepEqual(described.sort(), Object.keys(operations).sort());
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const method of Object.keys(methods)) {
      const answer = await ask(method.toUpperCase(), path.replace(/\{\w+\}/g, 'x'), { key: null });
      assert.ok(
        answer.body.code !== 'unknown_route' && answer.body.code !== 'method_not_allowed',
        `${method} ${path}`,
      );
    }
  }
});

test('docs and health need no key, everything else does', async () => {
  assert.equal((await ask('GET', '/health', { key: null })).status, 200);
  assert.match((await ask('GET', '/docs', { key: null })).type, /text\/html/);
  assertProblem(await ask('GET', '/metrics', { key: null }), 401, 'unauthorized');
  assertProblem(await ask('GET', '/api/agents', { key: null }), 401, 'unauthorized');
  assertProblem(await ask('GET', '/api/agents', { key: 'atoll_wrong' }), 401, 'unauthorized');
  assert.equal((await ask('GET', '/metrics')).status, 200);
});

test('unknown routes and methods are problems too', async () => {
  assertProblem(await ask('GET', '/nope'), 404, 'unknown_route');
  assertProblem(await ask('GET', '/api/../etc/passwd'), 404, 'unknown_route');
  const answer = await ask('PATCH', '/api/agents');
  assertProblem(answer, 405, 'method_not_allowed');
  assert.deepEqual(answer.headers.allow?.split(', ').sort(), ['GET', 'POST']);
  for (const path of ['/docs', '/openapi.json']) {
    const refused = await ask('POST', path);
    assertProblem(refused, 405, 'method_not_allowed');
    assert.equal(refused.headers.allow, 'GET');
  }
});

test('bodies: not JSON, not UTF-8, wrong type, unknown fields, too large, another content type', async () => {
  const path = '/api/sessions';
  assertProblem(await ask('POST', path, { body: '{' }), 400, 'invalid_json');
  assertProblem(
    await ask('POST', path, { body: Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]) }),
    400,
    'invalid_json',
  );
  assertProblem(await ask('POST', path, json([])), 400, 'invalid_request');
  assertProblem(await ask('POST', path, json({ agent: 5 })), 400, 'invalid_request');
  assertProblem(await ask('POST', path, json({ agent: 'versatile', surprise: 1 })), 400, 'invalid_request');
  assertProblem(
    await ask('POST', path, json({ agent: 'versatile', systemPrompt: 'x'.repeat(5 * 1024 * 1024) })),
    413,
    'body_too_large',
  );
  assertProblem(
    await ask('POST', path, json({ agent: 'versatile', metadata: { much: 'x'.repeat(64 * 1024) } })),
    413,
    'body_too_large',
    'a session begins with no more metadata than it may have later',
  );
  const form = await ask('POST', path, { body: 'a=b', type: 'application/x-www-form-urlencoded' });
  assertProblem(form, 415, 'unsupported_media_type');
  assert.match(form.body.detail ?? '', /takes application\/json/);
  assertProblem(await ask('POST', path, {}), 400, 'invalid_request');
  const deep = `{"agent":"versatile","metadata":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}}`;
  assert.equal((await ask('POST', path, { body: deep })).status, 400);
});

test('metadata are patched by what RFC 7396 calls its bodies, too', async () => {
  const path = `/api/sessions/${sessionId}/metadata`;
  await ask('PATCH', path, json({ kept: 1, gone: 1 }));
  const patched = await ask('PATCH', path, { ...json({ gone: null }), type: 'application/merge-patch+json' });
  assert.deepEqual([patched.status, patched.body], [200, { metadata: { kept: 1 } }]);
});

test('lists refuse limits out of range and foreign query parameters', async () => {
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'limit=1.5', 'other=1'])
    assertProblem(await ask('GET', `/api/sessions?${query}`), 400, 'invalid_request');
  assert.equal((await ask('GET', '/api/sessions?limit=1000')).status, 200);
});

test('ids: malformed ones are 400, unknown ones 404', async () => {
  assertProblem(await ask('GET', '/api/sessions/not-an-id'), 400, 'invalid_request');
  assertProblem(await ask('GET', `/api/sessions/ses_${'0'.repeat(26)}`), 404, 'not_found');
  assertProblem(await ask('GET', '/api/agents/unknown'), 404, 'not_found');
  assertProblem(await ask('POST', '/api/sessions', json({ agent: 'unknown' })), 404, 'not_found');
  assertProblem(
    await ask('POST', '/api/sessions', json({ agent: 'versatile', version: 99 })),
    404,
    'not_found',
  );
});

test('file paths that lead out are refused, by name and by link', async () => {
  const files = `/api/sessions/${sessionId}/files`;
  for (const path of [
    '..%2Fx',
    '%2Fetc%2Fpasswd',
    'a%2F..%2F..%2Fx',
    'a%00b',
    'a%5Cb',
    'a//b',
    'x'.repeat(1100),
  ])
    assertProblem(await ask('GET', `${files}/${path}`), 400, 'invalid_path');
  await atoll.client.call('session.exec', {
    sessionId,
    command:
      'ln -s /etc/hostname out; ln -s ../../../../etc up; ln -s /workspace/in.txt ok; echo inside > in.txt; mkfifo pipe; ln -s loop loop',
  });
  assertProblem(await ask('GET', `${files}/out`), 400, 'path_outside_workspace');
  assertProblem(await ask('GET', `${files}/up/passwd`), 400, 'path_outside_workspace');
  assertProblem(
    await ask('PUT', `${files}/up/x`, { body: 'x', type: 'text/plain' }),
    400,
    'path_outside_workspace',
  );
  assertProblem(await ask('GET', `${files}/pipe`), 400, 'not_a_file');
  assert.equal((await ask('GET', `${files}/loop`)).status, 400);
  assert.equal((await ask('GET', `${files}/ok`)).status, 200);
  assertProblem(await ask('GET', `${files}/missing`), 404, 'not_found');
});

test('agent folders: bad paths, no agent in it, secrets in env', async () => {
  const file = (path: string, text = 'x') => ({ path, content: Buffer.from(text).toString('base64') });
  const deploy = (body: object) => ask('POST', '/api/agents', json({ name: 'bad', ...body }));
  assertProblem(await deploy({ files: [file('../x')] }), 400, 'invalid_path');
  assertProblem(await deploy({ files: [file('README.md')] }), 400, 'invalid_agent');
  assertProblem(await deploy({ files: [{ path: 'CLAUDE.md', content: '***' }] }), 400, 'invalid_agent');
  assertProblem(
    await deploy({ files: [file('CLAUDE.md'), file('atoll.json', '{"executor": "nothing"}')] }),
    400,
    'invalid_agent',
  );
  assertProblem(
    await deploy({ files: Array.from({ length: 10_001 }, (_, i) => file(`f${i}`)) }),
    400,
    'invalid_agent',
  );
  assertProblem(await deploy({ name: '../evil', files: [file('CLAUDE.md')] }), 400, 'invalid_request');
  const env = { OPENAI: `sk-${'a'.repeat(40)}` };
  assertProblem(await deploy({ files: [file('CLAUDE.md')], env }), 400, 'secret_in_env');
  assert.equal(
    (await deploy({ name: 'fine', files: [file('CLAUDE.md')], env, allowSecretEnv: true })).status,
    201,
  );
});

test('a version is made when the content differs, and only then', async () => {
  const files = (text: string) => [{ path: 'CLAUDE.md', content: Buffer.from(text).toString('base64') }];
  const deploy = async (text: string) =>
    (await atoll.client.call('agent.deploy', { name: 'versions', files: files(text) })).agent;
  const [first, same, second] = [await deploy('a'), await deploy('a'), await deploy('b')];
  assert.deepEqual([first.version, same.version, second.version], [1, 1, 2]);
  const racing = await Promise.all(['c', 'd', 'e', 'f'].map(deploy));
  assert.deepEqual(racing.map((agent) => agent.version).sort(), [3, 4, 5, 6]);
  const { agent } = await atoll.client.call('agent.show', { name: 'versions' });
  assert.equal(agent.versions.length, 6);
  await atoll.client.call('agent.delete', { name: 'versions' });
  assertProblem(await ask('GET', '/api/agents/versions'), 404, 'not_found');
  assertProblem(await ask('DELETE', '/api/agents/versatile'), 409, 'agent_in_use');
});

test('keys: roles, tenants, expiry, revocation', async () => {
  const { client } = atoll;
  const make = async (params: { role: 'client' | 'runner'; tenant?: string; expiresAt?: string }) =>
    client.call('key.create', params);
  const other = await make({ role: 'client', tenant: 'other' });
  const own = await make({ role: 'client' });
  const runner = await make({ role: 'runner' });
  assertProblem(await ask('GET', '/api/keys', { key: own.secret }), 403, 'forbidden');
  assertProblem(await ask('GET', '/api/agents', { key: runner.secret }), 403, 'forbidden');
  assert.equal((await ask('GET', `/api/sessions/${sessionId}`, { key: own.secret })).status, 200);
  assertProblem(await ask('GET', `/api/sessions/${sessionId}`, { key: other.secret }), 404, 'not_found');
  assertProblem(await ask('GET', '/api/agents/versatile', { key: other.secret }), 404, 'not_found');
  const foreign: Client = createClient({ url: atoll.url, key: other.secret });
  assert.deepEqual((await foreign.call('session.list', {})).sessions, []);
  assertProblem(
    await ask('POST', '/api/keys', json({ role: 'client', expiresAt: '2001-01-01T00:00:00Z' })),
    400,
    'invalid_request',
  );
  for (const expiresAt of ['2999-02-30T00:00:00Z', '2999-01-01T00:00:00+02'])
    assertProblem(
      await ask('POST', '/api/keys', json({ role: 'client', expiresAt })),
      400,
      'invalid_request',
    );
  const short = await make({ role: 'client', expiresAt: new Date(Date.now() + 300).toISOString() });
  assert.equal((await ask('GET', '/api/agents', { key: short.secret })).status, 200);
  await client.call('key.delete', { keyId: own.key.id });
  assertProblem(await ask('GET', '/api/agents', { key: own.secret }), 401, 'unauthorized');
  const listed = JSON.stringify(await client.call('key.list', {}));
  assert.ok(!listed.includes(other.secret) && listed.includes(other.key.id));
  await new Promise((resolve) => setTimeout(resolve, 350));
  assertProblem(await ask('GET', '/api/agents', { key: short.secret }), 401, 'unauthorized');
});

test('after all this the server is well', async () => {
  assert.equal((await atoll.client.call('health.show', {})).status, 'ok');
  const events = await Array.fromAsync(atoll.client.send(sessionId, { content: 'still here' }));
  assert.equal(JSON.parse(events.at(-1)?.text ?? '').status, 'completed');
});
