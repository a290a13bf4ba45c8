/** Credentials on a real server (I7): what is stored is nowhere to be found again, however one asks. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createClient } from '@atoll/client';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, filesBelow, startAtoll, until } from '../atoll.ts';
import { type Ask, assertProblem, createAsk, json } from '../raw-http.ts';

const SECRET = 'mark-4f1b0c';
const env: Record<string, string> = {};
let atoll: Atoll;
let ask: Ask;
before(async () => {
  atoll = await startAtoll({ args: ['--log-level', 'trace'], env });
  ask = createAsk(atoll);
});
after(() => atoll[Symbol.asyncDispose]());

const bearer = { name: 'github', kind: 'bearer', hosts: ['github.com'], value: SECRET };
const basic = { name: 'git', kind: 'basic', hosts: ['*.example.org'], username: 'me', value: `${SECRET}-2` };
const set = (params: object) => ask('POST', '/api/credentials', json(params));

/** Its spellings: as it is, in base64, in hex. */
const marks = [
  SECRET,
  ...['', 'me:', 'x', 'xx'].map((front) =>
    Buffer.from(front + SECRET)
      .toString('base64')
      .slice(4, 16),
  ),
  Buffer.from(SECRET).toString('hex'),
];
const marked = (bytes: string | Buffer) => marks.some((mark) => bytes.includes(mark));

async function filesWithSecret(): Promise<string[]> {
  const files = (await filesBelow(atoll.dataDir)).filter((file) => !file.endsWith('.sock'));
  const found = await Promise.all(
    files.map(async (file) => marked(await readFile(join(atoll.dataDir, file)).catch(() => ''))),
  );
  return files.filter((_, at) => found[at]);
}

test('a value is in no answer, no event, no metric, no log line and no file', async () => {
  const answers = [await set(bearer), await set(basic), await set({ ...bearer, paths: ['/acme'] })];
  for (const { status } of answers) assert.equal(status, 201);
  const bad = [
    { ...bearer, hosts: ['*'] },
    { ...bearer, value: `${SECRET}\n` },
    { ...bearer, value: [SECRET] },
    { ...bearer, value: { [SECRET]: SECRET } },
    { ...bearer, username: 'x' },
    { ...bearer, name: `../${SECRET}` },
    { ...bearer, kind: SECRET },
    { ...bearer, hosts: [`https://${SECRET}@github.com`] },
    { name: 'x', kind: 'openai', url: `https://u:${SECRET}@api.example.org`, value: SECRET },
  ];
  for (const params of bad) {
    const answer = await set(params);
    assertProblem(answer, 400, 'invalid_request', JSON.stringify(params));
    answers.push(answer);
  }
  const broken = await ask('POST', '/api/credentials', { body: JSON.stringify(bearer).replace(/}$/, ',}') });
  assertProblem(broken, 400, 'invalid_json');
  const form = await ask('POST', '/api/credentials', { body: SECRET, type: 'text/plain' });
  assertProblem(form, 415, 'unsupported_media_type');
  answers.push(broken, form, await ask('GET', '/api/credentials'), await ask('GET', '/metrics'));
  assert.equal((await ask('GET', '/api/credentials/github')).status, 405, 'one alone is not shown');

  await deployProgram(atoll.client, 'versatile', versatile);
  const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
  await Array.fromAsync(atoll.client.send(session.id, { content: 'hello' }));
  answers.push(await ask('GET', `/api/sessions/${session.id}/events?limit=1000`));
  answers.push(await ask('DELETE', '/api/credentials/github'), await set(bearer));
  for (const { text } of answers) assert.ok(!marked(text), text);
  assert.ok(!marked(atoll.stderr));
  assert.deepEqual(await filesWithSecret(), []);
});

test('credentials are there after kill -9, and another key says at the start that they are of no use', async () => {
  const list = async () => (await atoll.client.call('credential.list', {})).credentials;
  const stored = await list();
  assert.deepEqual(
    stored.map(({ name, version }) => [name, version]),
    [
      ['git', 1],
      ['github', 1],
    ],
  );
  await atoll.kill();
  await atoll.restart();
  assert.deepEqual(await list(), stored);
  assert.equal((await set(bearer)).status, 201, 'the key is there again');

  env.ATOLL_SECRET_KEY = Buffer.alloc(32, 5).toString('base64');
  await atoll.restart();
  await until(async () => atoll.stderr.includes('wrong_secret_key'));
  assert.equal((await list()).length, 2);
  const refused = await set(bearer);
  assertProblem(refused, 500, 'wrong_secret_key');
  assert.equal((await atoll.client.call('health.show', {})).status, 'ok');
  for (const text of [atoll.stderr, refused.text])
    assert.ok(!text.includes(env.ATOLL_SECRET_KEY) && !marked(text));

  delete env.ATOLL_SECRET_KEY;
  await atoll.restart();
  assert.equal((await set(bearer)).status, 201);
  assert.doesNotMatch(atoll.stderr, /wrong_secret_key/);
  assert.deepEqual(await filesWithSecret(), []);
});

test('who may not, may not', async () => {
  const { secret: runner } = await atoll.client.call('key.create', { role: 'runner' });
  const { secret: stranger } = await atoll.client.call('key.create', { role: 'client', tenant: 'stranger' });
  assertProblem(await ask('GET', '/api/credentials', { key: runner }), 403, 'forbidden');
  assertProblem(await ask('POST', '/api/credentials', { ...json(bearer), key: runner }), 403, 'forbidden');
  assertProblem(await ask('DELETE', '/api/credentials/github', { key: stranger }), 404, 'not_found');
  const theirs = createClient({ url: atoll.url, key: stranger });
  assert.deepEqual((await theirs.call('credential.list', {})).credentials, []);
});
