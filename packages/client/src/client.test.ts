import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import { createClient } from './client.ts';
import { Unreachable } from './errors.ts';
import { backoffMs } from './timers.ts';

/** A client whose server is a function. */
function clientOf(respond: (request: Request) => Response | Promise<Response>) {
  const seen: Request[] = [];
  const client = createClient({
    url: 'http://atoll.test/',
    key: 'secret',
    fetch: (input, init) => {
      const request = new Request(input, init);
      seen.push(request);
      return Promise.resolve(respond(request));
    },
  });
  return { client, seen };
}

const health = {
  status: 'ok',
  version: '0.1.0',
  uptimeMs: 1,
  sessions: 0,
  pool: { capacity: 1, reserved: 0, running: 0, idle: 0, warm: 0 },
};

test('a call is typed, authenticated and checked', async () => {
  const { client, seen } = clientOf(() => Response.json(health));
  assert.deepEqual(await client.call('health.show', {}), health);
  assert.equal(seen[0]?.url, 'http://atoll.test/health');
  assert.equal(seen[0]?.headers.get('authorization'), 'Bearer secret');

  const odd = clientOf(() => Response.json({ ...health, status: 7 }));
  await assert.rejects(odd.client.call('health.show', {}), { code: 'internal', message: /another version/ });
});

test('text is text', async () => {
  const { client } = clientOf(() => new Response('atoll_up 1\n'));
  assert.equal(await client.call('metrics.show', {}), 'atoll_up 1\n');
});

test('a problem document becomes the same AtollError; anything else is not Atoll', async () => {
  const thrown = new AtollError('agent_in_use', 'hello has 2 sessions');
  const { client } = clientOf(() => Response.json(thrown.toProblem(), { status: 409 }));
  await assert.rejects(client.call('agent.delete', { name: 'hello' }), {
    name: 'AtollError',
    code: 'agent_in_use',
    status: 409,
    detail: 'hello has 2 sessions',
  });

  const newer = { type: 'x', title: 'x', status: 418, detail: 'short and stout', code: 'teapot' };
  const unknown = clientOf(() => Response.json(newer, { status: 418 }));
  await assert.rejects(unknown.client.call('health.show', {}), { detail: 'short and stout (teapot)' });

  const stranger = clientOf(() => new Response('<h1>404</h1>', { status: 404 }));
  await assert.rejects(stranger.client.call('health.show', {}), Unreachable);
});

test('no connection is Unreachable with the reason; an abort is the signal’s reason', async () => {
  const away = createClient({ url: 'http://127.0.0.1:1' });
  await assert.rejects(away.call('health.show', {}), {
    name: 'Unreachable',
    message: /127\.0\.0\.1:1.*ECONNREFUSED|bad port/,
  });

  const abort = new AbortController();
  abort.abort(new Error('enough'));
  const waiting = createClient({ url: 'http://127.0.0.1:9' });
  await assert.rejects(waiting.call('health.show', {}, { signal: abort.signal }), { message: 'enough' });
});

test('files go both ways as streams', async () => {
  const sessionId = 'ses_1';
  const { client, seen } = clientOf(async (request) => {
    if (request.method === 'GET') return new Response('content');
    const sizeBytes = (await request.arrayBuffer()).byteLength;
    return Response.json({ file: { path: 'a.txt', sizeBytes, created: true } });
  });
  const read = await client.readFile(sessionId, 'a.txt');
  assert.equal(await new Response(read).text(), 'content');

  async function* pieces() {
    yield new TextEncoder().encode('one ');
    yield new TextEncoder().encode('two');
  }
  const written = await client.writeFile(sessionId, 'a.txt', pieces());
  assert.deepEqual(written.file, { path: 'a.txt', sizeBytes: 7, created: true });
  assert.equal(seen[1]?.headers.get('content-type'), 'application/octet-stream');
});

test('pauses double, are bounded, and differ between clients', () => {
  assert.deepEqual(
    [1, 2, 3].map((failures) => backoffMs(failures, 1000, 1)),
    [1000, 2000, 4000],
  );
  assert.equal(backoffMs(1, 1000, 0), 500);
  assert.equal(backoffMs(500, 1000, 1), 30_000);
});
