import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { type OperationInput, operations } from '@atoll/protocol/operations';
import { parse } from '@atoll/protocol/parse';
import { access } from '../keys/access.ts';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite } from '../store/sqlite-database.ts';
import { createCredentials } from './credentials.ts';

const SECRET = 'mark-4f1b0c';
const root = mkdtempSync(join(tmpdir(), 'atoll-credentials-'));
const stops: (() => Promise<void>)[] = [];
after(async () => {
  for (const stop of stops) await stop();
  rmSync(root, { recursive: true, force: true });
});
let directories = 0;

function directory(): string {
  const path = join(root, String(directories++));
  mkdirSync(path);
  return path;
}

type Set = OperationInput<'credential.set'>;
const github: Set = { name: 'github', kind: 'bearer', hosts: ['github.com'], value: SECRET };

/** The store of a data directory as one start of a server has it. */
async function start(dataDir: string, secretKey?: Uint8Array) {
  const clock = { time: Date.parse('2026-01-01T00:00:00Z') };
  const store = createSqliteStore(await openSqlite({ path: join(dataDir, 'atoll.db') }), await loadKysely());
  // A test that fails leaves nothing open.
  stops.push(() => store.close());
  const logged: string[] = [];
  const log = (fields: object, message: string) => void logged.push(JSON.stringify({ ...fields, message }));
  const credentials = createCredentials({
    store,
    now: () => clock.time,
    logger: { debug: log, info: log, warn: log, error: log },
    secretKey,
    keyFile: join(dataDir, 'secret.key'),
  });
  const as = (tenant: string) => access(tenant, 'client');
  return {
    clock,
    credentials,
    logged,
    stop: () => store.close(),
    set: (params: Set, tenant = 'a') =>
      credentials.set(as(tenant), parse(operations['credential.set'].params, params)),
    list: (page: OperationInput<'credential.list'> = {}, tenant = 'a') =>
      credentials.list(as(tenant), parse(operations['credential.list'].params, page)),
    delete: (name: string, tenant = 'a') => credentials.delete(as(tenant), name),
    deliver: (agent = 'any', tenant = 'a') => credentials.credentialsFor({ tenant, agent }),
  };
}

const headerOf = (delivered: { header: { value: string } }[]) => delivered.map(({ header }) => header.value);

test('a value comes back through a restart, to a gateway and to nobody else', async () => {
  const dataDir = directory();
  const first = await start(dataDir);
  assert.deepEqual(await first.list(), { credentials: [], nextCursor: null });
  assert.deepEqual(await first.deliver(), []);
  assert.ok(!readdirSync(dataDir).includes('secret.key'), 'no key before there is a need for one');
  const shown = await first.set(github);
  const { fingerprint, ...rest } = shown;
  assert.match(fingerprint, /^[0-9a-f]{8}$/);
  assert.deepEqual(rest, {
    name: 'github',
    kind: 'bearer',
    version: 1,
    hosts: ['github.com'],
    header: null,
    template: null,
    username: null,
    url: null,
    agents: null,
    methods: null,
    paths: null,
    createdAt: '2026-01-01T00:00:00.000Z',
    updatedAt: '2026-01-01T00:00:00.000Z',
  });
  assert.equal(statSync(join(dataDir, 'secret.key')).mode & 0o777, 0o600);
  await first.stop();

  const second = await start(dataDir);
  await second.credentials.checkKey();
  assert.deepEqual((await second.list()).credentials, [shown]);
  assert.deepEqual(await second.deliver(), [
    {
      name: 'github',
      version: 1,
      target: { at: 'hosts', hosts: ['github.com'] },
      methods: undefined,
      paths: undefined,
      header: { name: 'authorization', value: `Bearer ${SECRET}` },
      secrets: [SECRET],
    },
  ]);
  assert.deepEqual(await second.delete('github'), shown);
  await assert.rejects(second.delete('github'), { code: 'not_found' });
  assert.deepEqual(await second.deliver(), []);
  assert.ok(!JSON.stringify([shown, first.logged, second.logged]).includes(SECRET));
  await second.stop();
});

test('no file of the data directory holds a value, even while the server runs', async () => {
  const dataDir = directory();
  const { set, stop } = await start(dataDir, Buffer.alloc(32, 1));
  const holding = (...marks: string[]) =>
    readdirSync(dataDir).filter((file) => {
      const bytes = readFileSync(join(dataDir, file));
      return marks.some((mark) => bytes.includes(mark));
    });
  const search = () => holding(SECRET, Buffer.from(SECRET).toString('base64').slice(0, 12));
  for (let round = 0; round < 20; round++) await set({ ...github, value: `${SECRET}-${round}` });
  await set({ name: 'git', kind: 'basic', hosts: ['a.org'], username: 'u', value: SECRET });
  assert.ok(readdirSync(dataDir).includes('atoll.db-wal'));
  assert.notDeepEqual(holding('github.com'), [], 'what is not secret is found');
  assert.deepEqual(search(), []);
  await stop();
  assert.deepEqual(search(), []);
  assert.ok(!readdirSync(dataDir).includes('secret.key'), 'a key from outside is not kept');
});

test('each kind becomes the header that its service wants', async () => {
  const { set, deliver, stop } = await start(directory());
  const hosts = ['a.org'];
  await set({ name: 'a', kind: 'header', hosts, header: 'PRIVATE-TOKEN', value: '$&s' });
  await set({ name: 'b', kind: 'header', hosts, header: 'x-a', template: 'Token "{value}"', value: '$1' });
  await set({ name: 'c', kind: 'basic', hosts, username: 'mé', value: 'pä:ss' });
  await set({ name: 'd', kind: 'anthropic', value: 'k' });
  await set({ name: 'e', kind: 'openai', url: 'http://127.0.0.1:8000/v1', value: 'k' });
  await set({ name: 'f', kind: 'mcp', url: 'https://mcp.example.org/mcp', value: 'k', paths: ['/mcp'] });
  const delivered = await deliver();
  assert.deepEqual(
    delivered.map(({ header }) => `${header.name}: ${header.value}`),
    [
      'private-token: $&s',
      'x-a: Token "$1"',
      `authorization: Basic ${Buffer.from('mé:pä:ss').toString('base64')}`,
      'x-api-key: k',
      'authorization: Bearer k',
      'authorization: Bearer k',
    ],
  );
  assert.deepEqual(
    delivered.slice(2).map(({ target }) => target),
    [
      { at: 'hosts', hosts },
      { at: 'anthropic', url: 'https://api.anthropic.com' },
      { at: 'openai', url: 'http://127.0.0.1:8000/v1' },
      { at: 'mcp', server: 'f', url: 'https://mcp.example.org/mcp' },
    ],
  );
  assert.deepEqual(delivered[2]?.secrets, ['pä:ss', Buffer.from('mé:pä:ss').toString('base64')]);
  assert.deepEqual(delivered[5]?.paths, ['/mcp']);
  await stop();
});

test('what does not belong to a kind, or fits no header, is refused without its value', async () => {
  const { set, list, stop } = await start(directory());
  const wrong: Set[] = [
    { name: 'x', kind: 'bearer', value: SECRET },
    { name: 'x', kind: 'bearer', hosts: ['a.org'], username: 'u', value: SECRET },
    { name: 'x', kind: 'basic', hosts: ['a.org'], value: SECRET },
    { name: 'x', kind: 'header', hosts: ['a.org'], value: SECRET },
    { name: 'x', kind: 'anthropic', hosts: ['a.org'], value: SECRET },
    { name: 'x', kind: 'mcp', value: SECRET },
    { ...github, value: `${SECRET}é` },
    { ...github, value: ` ${SECRET}` },
  ];
  for (const params of wrong)
    await assert.rejects(set(params), ({ code, message }: { code?: string; message: string }) => {
      assert.equal(code, 'invalid_request');
      assert.ok(!message.includes(SECRET));
      return true;
    });
  assert.deepEqual((await list()).credentials, []);
  await stop();
});

test('those for one agent come before those for all, each by name', async () => {
  const { set, deliver, stop } = await start(directory());
  for (const [name, agents] of Object.entries({ a: undefined, b: ['two'], c: ['one', 'two'], d: undefined }))
    await set({ name, kind: 'anthropic', value: name, ...(agents && { agents }) });
  const names = async (agent: string) => (await deliver(agent)).map(({ name }) => name).join('');
  assert.deepEqual([await names('one'), await names('two'), await names('three')], ['cad', 'bcad', 'ad']);
  await stop();
});

test('agents get theirs, tenants theirs, and setting again replaces all of it', async () => {
  const { clock, set, list, delete: remove, deliver, stop } = await start(directory());
  const first = await set({ ...github, agents: ['one'] });
  await set({ ...github, value: 'of b' }, 'b');
  assert.deepEqual(headerOf(await deliver('one')), [`Bearer ${SECRET}`]);
  assert.deepEqual(headerOf(await deliver('two')), []);
  assert.deepEqual(headerOf(await deliver('one', 'b')), ['Bearer of b']);
  assert.deepEqual(headerOf(await deliver('one', 'c')), []);
  await assert.rejects(remove('github', 'c'), { code: 'not_found' });
  assert.deepEqual((await list({}, 'c')).credentials, []);

  clock.time++;
  const again = await set({ ...github, hosts: ['gitlab.com'] });
  assert.deepEqual([again.version, again.agents, again.hosts], [2, null, ['gitlab.com']]);
  assert.equal(again.fingerprint, first.fingerprint, 'the same value');
  assert.equal(again.createdAt, first.createdAt);
  assert.notEqual(again.updatedAt, first.updatedAt);
  const third = await set({ ...github, value: 'other' });
  assert.notEqual(third.fingerprint, first.fingerprint);
  assert.deepEqual(headerOf(await deliver('two')), ['Bearer other']);
  assert.deepEqual(headerOf(await deliver('one', 'b')), ['Bearer of b']);
  await stop();
});

test('those who set one at the same time get versions of their own', async () => {
  const dataDir = directory();
  const { set, list, deliver, stop } = await start(dataDir);
  const sets = await Promise.all(Array.from({ length: 10 }, (_, at) => set({ ...github, value: `v${at}` })));
  assert.deepEqual(
    sets.map(({ version }) => version).sort((a, b) => a - b),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  const [kept] = (await list()).credentials;
  const last = sets.findIndex(({ version }) => version === 10);
  assert.equal(kept?.fingerprint, sets[last]?.fingerprint);
  assert.deepEqual(headerOf(await deliver()), [`Bearer v${last}`]);
  await stop();
});

test('pages go by name', async () => {
  const { set, list, stop } = await start(directory());
  for (const name of ['c', 'a', 'b']) await set({ ...github, name });
  const page = await list({ limit: 2 });
  assert.deepEqual([page.credentials.map(({ name }) => name), page.nextCursor], [['a', 'b'], 'b']);
  const rest = await list({ limit: 2, cursor: 'b' });
  assert.deepEqual([rest.credentials.map(({ name }) => name), rest.nextCursor], [['c'], null]);
  await stop();
});

test('another key, or none, says so and loses nothing', async () => {
  const dataDir = directory();
  const keyFile = join(dataDir, 'secret.key');
  const before = await start(dataDir);
  await before.set(github);
  await before.stop();

  const wrong = await start(dataDir, Buffer.alloc(32, 9));
  const refused = { code: 'wrong_secret_key' };
  await wrong.credentials.checkKey();
  assert.match(wrong.logged.join(), /wrong_secret_key.*sealed with the secret key [0-9a-f]{16}/);
  await assert.rejects(wrong.deliver(), refused);
  await assert.rejects(wrong.set({ ...github, name: 'new' }), refused);
  assert.equal((await wrong.list()).credentials.length, 1, 'can be listed');
  await wrong.stop();

  renameSync(keyFile, `${keyFile}.away`);
  const without = await start(dataDir);
  await without.credentials.checkKey();
  assert.match(without.logged.join(), /secret\.key is gone/);
  await assert.rejects(without.deliver(), refused);
  await assert.rejects(without.set(github), refused);
  assert.ok(!readdirSync(dataDir).includes('secret.key'), 'no other key takes its place');
  renameSync(`${keyFile}.away`, keyFile);
  assert.deepEqual(headerOf(await without.deliver()), [`Bearer ${SECRET}`], 'found as soon as it is back');
  await without.stop();

  const cleared = await start(dataDir, Buffer.alloc(32, 9));
  await cleared.delete('github');
  await cleared.set({ ...github, value: 'new' });
  assert.deepEqual(headerOf(await cleared.deliver()), ['Bearer new']);
  await cleared.stop();
});

/** What somebody who can write to the database might try. */
const forgeries: [what: string, sql: string][] = [
  [
    'values swapped between names',
    `UPDATE credentials SET sealed = (SELECT sealed FROM credentials AS o WHERE o.tenant = 'a'
      AND o.name <> credentials.name) WHERE tenant = 'a'`,
  ],
  [
    'a value taken from another tenant',
    `UPDATE credentials SET sealed = (SELECT sealed FROM credentials AS o WHERE o.tenant = 'b') WHERE tenant = 'a'`,
  ],
  [
    'a row given to another tenant',
    `UPDATE credentials SET tenant = 'a', name = 'stolen' WHERE tenant = 'b'`,
  ],
  ['a renamed row', `UPDATE credentials SET name = 'other' WHERE tenant = 'a' AND name = 'github'`],
  ['another version', `UPDATE credentials SET version = 7 WHERE tenant = 'a'`],
  [
    'another host',
    `UPDATE credentials SET settings = replace(settings, 'github.com', 'evil.example.org') WHERE tenant = 'a'`,
  ],
  ['other agents', `UPDATE credentials SET settings = replace(settings, '}', ',"agents":["any"]}')`],
  ['a cut value', `UPDATE credentials SET sealed = substr(sealed, 1, length(sealed) - 1)`],
  ['no value', `UPDATE credentials SET sealed = x''`],
];

for (const [what, sql] of forgeries)
  test(`${what}: refused`, async () => {
    const dataDir = directory();
    const before = await start(dataDir);
    await before.set(github);
    await before.set({ ...github, name: 'gitlab', hosts: ['gitlab.com'], value: 'two' });
    await before.set({ ...github, value: 'of b' }, 'b');
    await before.stop();
    const database = new DatabaseSync(join(dataDir, 'atoll.db'));
    assert.ok(database.prepare(sql).run().changes > 0);
    database.close();
    const { deliver, stop } = await start(dataDir);
    await assert.rejects(deliver(), ({ code, message }: { code?: string; message: string }) => {
      assert.equal(code, 'credential_unreadable');
      assert.ok(!message.includes(SECRET));
      return true;
    });
    await stop();
  });
