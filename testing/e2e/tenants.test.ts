/**
 * Every operation of the table, asked by somebody who may not (I12): another tenant's ids are not found and look like
 * ids of nothing; a key that is over, or of another role, opens nothing. A new operation is asked as well: when it takes
 * an id or a body that is not known here, its test fails until it is.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createClient } from '@atoll/client';
import { newId, type Operation, type OperationName, operations } from '@atoll/protocol';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll } from '../atoll.ts';
import { type Answer, type Ask, assertProblem, createAsk } from '../raw-http.ts';

type Ids = Readonly<Record<string, string>>;

const table = Object.entries(operations) as [OperationName, Operation][];
const closed = table.filter(([, { role }]) => role !== 'public');
const withIds = table.filter(([, { rest, role }]) => /:/.test(rest.path) && role !== 'admin');

let atoll: Atoll;
let ask: Ask;
let owned: Ids;
const nothing: Ids = {
  sessionId: newId('session'),
  approvalId: newId('approval'),
  keyId: newId('key'),
  sandboxId: newId('sandbox'),
  jobId: newId('job'),
  snapshotId: newId('snapshot'),
  runnerId: newId('runner'),
  tenant: 'nobody',
  hash: '0'.repeat(64),
  name: 'nobody',
  path: 'file',
};
before(async () => {
  atoll = await startAtoll();
  ask = createAsk(atoll);
  const { client } = atoll;
  await deployProgram(client, 'owned', versatile);
  const { session } = await client.call('session.create', { agent: 'owned' });
  const { key } = await client.call('key.create', { role: 'client' });
  const { sandbox, job } = await client.call('sandbox.create', { wait: true });
  await client.sandboxes.writeFile(sandbox.id, 'file', new TextEncoder().encode('kept'));
  const kept = await client.call('sandbox.snapshot', { sandboxId: sandbox.id, wait: true });
  await client.writeFile(session.id, 'file', new TextEncoder().encode('kept'));
  await client.call('credential.set', {
    name: 'owned',
    kind: 'bearer',
    hosts: ['git.example.org'],
    value: 'kept',
  });
  // One that is really open is asked for by a stranger in approvals.test.ts.
  const { runners } = await client.call('runner.list', {});
  owned = {
    sessionId: session.id,
    approvalId: newId('approval'),
    keyId: key.id,
    sandboxId: sandbox.id,
    jobId: job.id,
    snapshotId: kept.snapshot?.id ?? assert.fail('there is no snapshot'),
    runnerId: runners[0]?.id ?? assert.fail('there is no runner'),
    tenant: 'default',
    hash: 'f'.repeat(64),
    name: 'owned',
    path: 'file',
  };
});
after(() => atoll[Symbol.asyncDispose]());

/** What a body must hold, by operation. */
const bodies: Partial<Record<OperationName, object>> = {
  'agent.deploy': { name: 'x', files: [{ path: 'CLAUDE.md', content: '' }] },
  'session.create': { agent: 'owned' },
  'session.send': { content: 'remember that I was here' },
  'sandbox.exec': { command: 'rm -rf file; touch /workspace/was-here' },
  'session.exec': { command: 'rm -rf file; touch /workspace/was-here' },
  'credential.set': { name: 'x', kind: 'bearer', hosts: ['git.example.org'], value: 'x' },
  'approval.decide': { decision: 'allow' },
  'session.fork': { at: 1 },
  'session.bind': { executor_session_id: 'of-a-stranger' },
  'session.report': { event_type: 'strange' },
  'session.metadata.update': { owner: 'a stranger' },
  'session.token.create': { epoch: 1 },
  'session.credentials.get': { epoch: 1 },
  'session.access.record': { epoch: 1, records: [], dropped: 0 },
  'session.model-use.add': { epoch: 1, requests: 1, tokens: 1 },
  'key.create': { role: 'client' },
};

/** Asks an operation, in each form of answer that it has. */
async function askFor(name: OperationName, operation: Operation, ids: Ids, key: string): Promise<Answer[]> {
  const { rest, kind } = operation;
  const path = rest.path.replace(/[:*](\w+)/g, (_, param: string) => {
    const id = ids[param];
    assert.ok(id, `${name}: say in this test what its ${param} is`);
    return id;
  });
  const body =
    rest.method === 'POST' || rest.method === 'PATCH' ? { body: JSON.stringify(bodies[name] ?? {}) } : {};
  const asked = rest.bytes === 'in' ? { body: 'written by a stranger' } : body;
  const accepts = kind === 'stream' ? ['text/event-stream', 'application/json'] : ['*/*'];
  return Promise.all(accepts.map((accept) => ask(rest.method, path, { ...asked, key, headers: { accept } })));
}

const makeKey = async (params: { role: 'client' | 'runner'; tenant?: string; expiresAt?: string }) =>
  (await atoll.client.call('key.create', params)).secret;

describe('another tenant', () => {
  let stranger: string;
  let strangeRunner: string;
  before(async () => {
    stranger = await makeKey({ role: 'client', tenant: 'stranger' });
    strangeRunner = await makeKey({ role: 'runner', tenant: 'stranger' });
  });

  for (const [name, operation] of withIds)
    test(`${name}: not found, as if it had never been`, async () => {
      const key = operation.role === 'runner' ? strangeRunner : stranger;
      const foreign = await askFor(name, operation, owned, key);
      const unknown = await askFor(name, operation, nothing, key);
      for (const [at, answer] of foreign.entries()) {
        assertProblem(answer, 404, 'not_found', name);
        const same = (text = '', ids: Ids) =>
          Object.values(ids).reduce((rest, id) => rest.replace(id, ''), text);
        assert.equal(same(answer.body.detail, owned), same(unknown[at]?.body.detail, nothing));
      }
    });

  test('sees nothing of it in any list, and opens no session with its agent', async () => {
    for (const [name, { kind, rest, role }] of table) {
      if (rest.method !== 'GET' || rest.path.includes(':') || role !== 'client' || kind !== 'unary') continue;
      const { status, body } = await ask('GET', rest.path, { key: stranger });
      assert.equal(status, 200, name);
      const lists = Object.values(body).filter(Array.isArray);
      assert.ok(lists.length > 0, name);
      assert.deepEqual(lists.flat(), [], name);
    }
    const filtered = await ask('GET', '/api/sessions?agent=owned', { key: stranger });
    assert.deepEqual((filtered.body as { sessions?: unknown }).sessions, []);
    const cursor = `2999-01-01T00:00:00.000Z/${newId('session')}`;
    const below = await ask('GET', `/api/sessions?cursor=${cursor}`, { key: stranger });
    assert.deepEqual((below.body as { sessions?: unknown }).sessions, []);
    const create = await ask('POST', '/api/sessions', { body: '{"agent":"owned"}', key: stranger });
    assertProblem(create, 404, 'not_found');
  });

  test('may have an agent of the same name, which is another agent', async () => {
    const own = createClient({ url: atoll.url, key: stranger });
    await deployProgram(own, 'owned', `${versatile}// of the stranger`);
    const mine = await own.call('agent.show', { name: 'owned' });
    const theirs = await atoll.client.call('agent.show', { name: 'owned' });
    assert.deepEqual([mine.agent.versions.length, theirs.agent.versions.length], [1, 1]);
    assert.notEqual(mine.agent.hash, theirs.agent.hash);
    await own.call('agent.delete', { name: 'owned' });
  });

  test('may have a credential of the same name, which is another credential', async () => {
    const own = createClient({ url: atoll.url, key: stranger });
    const mine = { name: 'owned', kind: 'openai', value: 'of the stranger' } as const;
    assert.equal((await own.call('credential.set', mine)).credential.version, 1);
    await own.call('credential.delete', { name: 'owned' });
  });

  test('changed nothing', async () => {
    const { credentials } = await atoll.client.call('credential.list', {});
    assert.deepEqual(
      credentials.map(({ name, kind, version }) => [name, kind, version]),
      [['owned', 'bearer', 1]],
    );
    const { sessionId = '' } = owned;
    const { session } = await atoll.client.call('session.show', { sessionId });
    assert.deepEqual([session.status, session.lastSeq], ['idle', 2]);
    assert.deepEqual([session.metadata, session.binding.executorSessionId], [{}, null]);
    const kept = await new Response(await atoll.client.readFile(sessionId, 'file')).text();
    assert.equal(kept, 'kept');
    const { files } = await atoll.client.call('session.files.list', { sessionId });
    assert.ok(!files.some(({ path }) => path === 'was-here'));
    const events = await Array.fromAsync(atoll.client.send(sessionId, { content: 'hello' }));
    assert.equal(JSON.parse(events.at(-1)?.text ?? '').status, 'completed');
  });
});

describe('a key that opens nothing', () => {
  const keys = new Map<string, string>();
  before(async () => {
    const expired = await makeKey({
      role: 'client',
      expiresAt: new Date(Date.now() + 400).toISOString(),
    });
    // Known to the server while it was good, so that it has to be looked at again.
    assert.equal((await ask('GET', '/api/agents', { key: expired })).status, 200);
    const revoked = await atoll.client.call('key.create', { role: 'client' });
    assert.equal((await ask('GET', '/api/agents', { key: revoked.secret })).status, 200);
    await atoll.client.call('key.delete', { keyId: revoked.key.id });
    await delay(450);
    keys
      .set('expired', expired)
      .set('revoked', revoked.secret)
      .set('unknown', `atoll_${'x'.repeat(43)}`);
  });

  for (const [name, operation] of closed)
    test(`${name}: 401 for one that is over, 403 for one of another role`, async () => {
      for (const [what, key] of keys)
        for (const answer of await askFor(name, operation, owned, key))
          assertProblem(answer, 401, 'unauthorized', `${what} ${name}`);
      const other = await makeKey({ role: operation.role === 'client' ? 'runner' : 'client' });
      for (const answer of await askFor(name, operation, owned, other))
        assertProblem(answer, 403, 'forbidden', name);
    });
});

describe('the token of a session', () => {
  let token: string;
  before(async () => {
    const { sessionId = '' } = owned;
    token = (await atoll.client.call('session.token.create', { sessionId, epoch: 1 })).token;
  });

  for (const [name, operation] of closed.filter(([, { bySession }]) => !bySession))
    test(`${name}: 403, as for everything that is not said to be a session's own`, async () => {
      for (const answer of await askFor(name, operation, owned, token))
        assertProblem(answer, 403, 'forbidden_for_session', name);
    });

  test('opens what is, and just that', async () => {
    const own = closed.filter(([, { bySession }]) => bySession).map(([name]) => name);
    assert.deepEqual(own.sort(), [
      'session.bind',
      'session.events',
      'session.files.list',
      'session.metadata.update',
      'session.report',
      'session.show',
    ]);
  });
});
