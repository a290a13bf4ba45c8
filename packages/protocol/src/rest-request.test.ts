import assert from 'node:assert/strict';
import { test } from 'node:test';
import { operations } from './operations.ts';
import { restRequest } from './rest-request.ts';

const sessionId = 'ses_1';

test('params stand where the REST binding puts them', () => {
  assert.deepEqual(restRequest(operations['session.list'], { status: 'idle', limit: 5, cursor: undefined }), {
    method: 'GET',
    path: '/api/sessions?status=idle&limit=5',
    headers: {},
  });
  assert.deepEqual(
    restRequest(operations['session.send'], { sessionId, content: 'hi', idempotencyKey: 'k' }),
    {
      method: 'POST',
      path: '/api/sessions/ses_1/messages',
      headers: { 'idempotency-key': 'k', 'content-type': 'application/json' },
      body: '{"content":"hi"}',
    },
  );
  assert.equal(
    restRequest(operations['session.end'], { sessionId, purge: true }).path,
    '/api/sessions/ses_1?purge=true',
  );
});

test('a path param cannot leave its place', () => {
  const read = (path: string) => restRequest(operations['session.files.read'], { sessionId, path }).path;
  assert.equal(read('a b/c?d#e%.txt'), '/api/sessions/ses_1/files/a%20b/c%3Fd%23e%25.txt');
  for (const path of ['../../keys', 'a/./b', 'a//b', '/etc/passwd'])
    assert.throws(() => read(path), { code: 'invalid_path' }, path);
  assert.throws(() => restRequest(operations['session.show'], {}), { code: 'invalid_request' });
  assert.equal(restRequest(operations['session.show'], { sessionId: 'a/b' }).path, '/api/sessions/a%2Fb');
});
