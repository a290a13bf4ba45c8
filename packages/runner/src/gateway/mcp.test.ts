import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import type { AccessRecord } from '@atoll/protocol/schemas/access';
import { createGateway, type Gateway } from './gateway.ts';
import { createMcpRow } from './mcp.ts';
import { createRelay } from './relay.ts';
import { ask, held, keyFor, silent, startUpstream, textOf, type Upstream } from './upstream.fixture.ts';

let upstream: Upstream;
let gateway: Gateway;
const credentials = held();
const relay = createRelay();
const recorded: AccessRecord[] = [];
const record = (each: AccessRecord) => void recorded.push(each);
const at = (server: string, path: string) => ({ at: 'mcp', server, url: upstream.url + path }) as const;

before(async () => {
  upstream = await startUpstream();
  gateway = await createGateway({
    where: { secretPath: '/s/x' },
    rows: [createMcpRow({ credentials, relay, record, logger: silent })],
  });
  credentials.now = [
    keyFor({ at: 'hosts', hosts: ['127.0.0.1'] }, { name: 'hosts' }),
    keyFor(at('linear', '/mcp'), { header: { name: 'x-linear', value: 'Key the-stored-secret' } }),
    keyFor(at('tree', '/a/b/'), { methods: ['POST'], paths: ['/a/b', '/a/c'] }),
    keyFor({ at: 'mcp', server: 'lost', url: 'http://127.0.0.1:1/mcp' }),
  ];
});
after(async () => {
  await gateway.close();
  relay.close();
  await upstream[Symbol.asyncDispose]();
});

test('a server is reached by its name, with its header and without the caller’s own', async () => {
  upstream.respond = (_request, response) => {
    response.setHeader('mcp-session-id', 'session-of-the-server');
    response.end('{"jsonrpc":"2.0"}');
  };
  const answer = await ask(gateway, 'POST', '/mcp/linear?v=1', '{"id":1}', {
    authorization: 'Bearer mine',
    'x-linear': 'mine',
    cookie: 'a=b',
    x_api_key: 'mine',
    'x-http-method-override': 'DELETE',
    range: 'bytes=0-3',
    'mcp-session-id': 'mine',
    'mcp-protocol-version': '2025-06-18',
    'content-type': 'application/json',
  });
  assert.equal(await textOf(answer), '{"jsonrpc":"2.0"}');
  assert.equal(answer.headers['mcp-session-id'], 'session-of-the-server');
  const { method, url, headers, body } = upstream.seen.at(-1) ?? assert.fail('nothing arrived');
  assert.deepEqual([method, url, body], ['POST', '/mcp?v=1', '{"id":1}']);
  assert.equal(headers['x-linear'], 'Key the-stored-secret');
  for (const name of ['authorization', 'cookie', 'x_api_key', 'x-http-method-override', 'range'])
    assert.equal(headers[name], undefined, name);
  assert.deepEqual([headers['mcp-session-id'], headers['mcp-protocol-version']], ['mine', '2025-06-18']);
});

test('a stream comes as it is written, and what is below the server is reached, too', async () => {
  const gone = Promise.withResolvers<void>();
  upstream.respond = (request, response) => {
    if (request.method === 'DELETE') return void response.writeHead(204).end();
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(`data: ${request.url}\n\n`);
    response.on('close', gone.resolve);
  };
  const stream = await ask(gateway, 'GET', '/mcp/linear/', '', { 'last-event-id': '7' });
  const [first] = (await once(stream, 'data')) as [Buffer];
  assert.equal(first.toString(), 'data: /mcp/\n\n');
  assert.equal(upstream.seen.at(-1)?.headers['last-event-id'], '7');
  stream.destroy();
  await gone.promise;
  const ended = await ask(gateway, 'DELETE', '/mcp/linear/sub/path');
  assert.deepEqual([ended.statusCode, upstream.seen.at(-1)?.url], [204, '/mcp/sub/path']);
});

test('what is no server of this agent, or out of bounds, is refused and reaches nobody', async () => {
  upstream.respond = (_request, response) => void response.end();
  const before = upstream.seen.length;
  const refused: [string, string, number, string][] = [
    ['POST', '/mcp/', 404, 'not_found'],
    ['POST', '/mcp/hosts', 404, 'not_found'],
    ['POST', '/mcp/stored', 404, 'not_found'],
    ['GET', '/mcp/tree', 403, 'credential_out_of_bounds'],
    ['POST', '/mcp/lost', 502, 'upstream_failed'],
  ];
  for (const [method, path, status, code] of refused) {
    const answer = await ask(gateway, method, path);
    const problem = JSON.parse(await textOf(answer));
    assert.deepEqual([answer.statusCode, problem.code], [status, code], path);
  }
  credentials.error = new AtollError('credentials_unavailable');
  assert.equal((await ask(gateway, 'POST', '/mcp/linear')).statusCode, 503);
  delete credentials.error;
  assert.equal(upstream.seen.length, before);
  assert.equal((await ask(gateway, 'POST', '/mcp/tree/x')).statusCode, 200);
  assert.equal(upstream.seen.at(-1)?.url, '/a/b/x');
  const told = recorded.map(({ via, decision, code }) => [via, decision, code]);
  assert.ok(told.some((each) => `${each}` === 'mcp,refused,credential_out_of_bounds'));
  assert.ok(told.some((each) => `${each}` === 'mcp,allowed,upstream_failed'));
});
