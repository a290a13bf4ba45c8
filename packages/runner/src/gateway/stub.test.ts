import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '@atoll/protocol/ids';
import { operations } from '@atoll/protocol/operations';
import { parse } from '@atoll/protocol/parse';
import { openStubGateway, type RecordedCall } from '../standalone-gateway.ts';

const own = newId('session');

async function setUp(sessionId?: string) {
  const calls: RecordedCall[] = [];
  const onCall = (call: RecordedCall) => void calls.push(call);
  const gateway = await openStubGateway({
    hostname: 'here',
    executorProfile: 'mine',
    port: 0,
    sessionId,
    onCall,
  });
  const ask = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(gateway.address + path, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as { code?: string },
    };
  };
  return { calls, ask, [Symbol.asyncDispose]: () => gateway.close() };
}

test('it answers as the coordinator would, and says what it would have sent', async () => {
  await using stub = await setUp(own);
  const bind = { executor_session_id: 'e', project_dir: '/w' };
  const foreign = { hostname: 'evil', executor_profile: 'evil' };
  const bound = await stub.ask('POST', '/bind', { session_id: own, ...bind, ...foreign });
  const { session } = parse(operations['session.bind'].result, bound.body);
  assert.deepEqual(
    [bound.status, session.id, session.binding],
    [200, own, { executorSessionId: 'e', projectDir: '/w', hostname: 'here', executorProfile: 'mine' }],
  );
  const event = { event_type: 'step', hostname: 'evil', n: 1 };
  const reported = await stub.ask('POST', '/events', { session_id: own, ...event });
  assert.deepEqual(
    [reported.status, parse(operations['session.report'].result, reported.body)],
    [201, { seq: 2 }],
  );
  await stub.ask('PATCH', '/metadata', { session_id: own, title: 'a', gone: 1 });
  const patched = await stub.ask('PATCH', '/metadata', { session_id: own, gone: null });
  assert.deepEqual([patched.status, patched.body], [200, { metadata: { title: 'a' } }]);

  const path = `/api/sessions/${own}`;
  assert.deepEqual(
    stub.calls.map(({ status, forwarded }) => [status, forwarded]),
    [
      [
        200,
        {
          method: 'POST',
          path: `${path}/bind`,
          body: { ...bind, hostname: 'here', executor_profile: 'mine' },
        },
      ],
      [201, { method: 'POST', path: `${path}/events`, body: { ...event, hostname: 'here' } }],
      [200, { method: 'PATCH', path: `${path}/metadata`, body: { title: 'a', gone: 1 } }],
      [200, { method: 'PATCH', path: `${path}/metadata`, body: { gone: null } }],
    ],
  );
});

test('it refuses what a gateway or the coordinator would, and shows that', async () => {
  await using stub = await setUp(own);
  const other = newId('session');
  const large = { session_id: own, pad: 'x'.repeat(65 * 1024) };
  const refused: [method: string, path: string, body: unknown, status: number, code: string][] = [
    ['POST', '/bind', {}, 400, 'invalid_request'],
    ['POST', '/bind', { session_id: own }, 400, 'invalid_request'],
    ['POST', '/bind', { session_id: own, executor_session_id: 'e', other: 1 }, 400, 'invalid_request'],
    ['POST', '/events', { session_id: own }, 400, 'invalid_request'],
    ['PATCH', '/metadata', { title: 'a' }, 400, 'invalid_request'],
    ['POST', '/bind', undefined, 400, 'invalid_json'],
    ['POST', '/bind', { session_id: other, executor_session_id: 'e' }, 403, 'wrong_session'],
    ['POST', '/events', { session_id: other, event_type: 'x' }, 403, 'wrong_session'],
    ['GET', '/bind', undefined, 405, 'method_not_allowed'],
    ['PUT', '/metadata', {}, 405, 'method_not_allowed'],
    ['PATCH', '/metadata', large, 413, 'body_too_large'],
    ['GET', `/sessions/${own}`, undefined, 404, 'unknown_route'],
  ];
  for (const [method, path, body, status, code] of refused) {
    const answer = await stub.ask(method, path, body);
    assert.deepEqual([answer.status, answer.body.code], [status, code], `${method} ${path}`);
    const seen = stub.calls.at(-1);
    assert.deepEqual([seen?.status, seen?.error?.code, seen?.forwarded], [status, code, undefined]);
    assert.equal(answer.headers.get('allow'), status === 405 ? (path === '/bind' ? 'POST' : 'PATCH') : null);
  }
  assert.equal(stub.calls.length, refused.length);
});

test('without a session it serves the first that is named in a call that holds', async () => {
  await using stub = await setUp();
  assert.equal((await stub.ask('POST', '/events', { session_id: 'bad' })).status, 400);
  assert.equal((await stub.ask('POST', '/events', { session_id: 'mine', event_type: 'x' })).status, 201);
  assert.equal((await stub.ask('POST', '/events', { session_id: 'mine', event_type: 'y' })).status, 201);
  assert.equal((await stub.ask('POST', '/events', { session_id: 'bad', event_type: 'x' })).status, 403);
});
