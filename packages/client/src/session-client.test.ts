import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { createSessionClient, SessionClientError } from './session-client.ts';

/** A client whose gateway is a function. */
function clientOf(respond: (request: Request) => Response) {
  const seen: { line: string; body: unknown }[] = [];
  const client = createSessionClient({
    url: 'http://gateway.test/s/x/',
    sessionId: 'ses_1',
    fetch: async (input, init) => {
      const request = new Request(input, init);
      seen.push({ line: `${request.method} ${request.url}`, body: await request.clone().json() });
      return respond(request);
    },
  });
  return { client, seen };
}

test('each call goes where the gateway has it, with the session and in snake_case', async () => {
  const binding = { executorSessionId: 'e', projectDir: '/w', hostname: 'h', executorProfile: 'p' };
  const answers: object[] = [{ session: { binding } }, { seq: 7 }, { metadata: { b: 1 } }];
  const { client, seen } = clientOf(() => Response.json(answers.shift()));
  assert.deepEqual(await client.bind({ executorSessionId: 'e', projectDir: '/w' }), { binding });
  assert.deepEqual(await client.addEvent('step', { n: 1, event_type: 'other', session_id: 'ses_2' }), {
    seq: 7,
  });
  assert.deepEqual(await client.updateMetadata({ a: null, b: 1 }), { metadata: { b: 1 } });
  assert.deepEqual(seen, [
    {
      line: 'POST http://gateway.test/s/x/bind',
      body: { executor_session_id: 'e', project_dir: '/w', session_id: 'ses_1' },
    },
    {
      line: 'POST http://gateway.test/s/x/events',
      body: { n: 1, event_type: 'step', session_id: 'ses_1' },
    },
    { line: 'PATCH http://gateway.test/s/x/metadata', body: { a: null, b: 1, session_id: 'ses_1' } },
  ]);
});

test('a refusal says its status, code and sentence; a stranger or nobody is told apart', async () => {
  const refused = clientOf(() => Response.json({ code: 'already_bound', detail: 'taken' }, { status: 409 }));
  await assert.rejects(
    refused.client.bind({ executorSessionId: 'e' }),
    (error) =>
      error instanceof SessionClientError &&
      error.status === 409 &&
      error.code === 'already_bound' &&
      error.message === 'taken',
  );
  const stranger = clientOf(() => new Response('<html>', { status: 200 }));
  await assert.rejects(stranger.client.addEvent('x'), { name: 'SessionClientError', status: 200 });
  const nobody = createSessionClient({ url: 'http://127.0.0.1:1', sessionId: 'ses_1' });
  await assert.rejects(nobody.updateMetadata({}), { status: 0, code: 'unreachable' });
});

test('the file stands alone', async () => {
  const source = await readFile(new URL('./session-client.ts', import.meta.url), 'utf8');
  assert.doesNotMatch(source, /^import|\bimport\(/m);
});
