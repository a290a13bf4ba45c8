/** The first moments of a server: what comes before it is wholly loaded, and being stopped then. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { deploy, processesWith, startAtoll, until } from '../atoll.ts';

test('requests that come with the first line are answered properly, health among them', async () => {
  await using atoll = await startAtoll();
  const [health, refused, missing] = await Promise.all([
    fetch(`${atoll.url}/health`),
    fetch(`${atoll.url}/api/agents`),
    fetch(`${atoll.url}/nothing`),
    deploy(atoll.client, 'hello', { 'CLAUDE.md': 'Say hello.' }),
  ]);
  assert.deepEqual([health.status, refused.status, missing.status], [200, 401, 404]);
  const { agents } = await atoll.client.call('agent.list', {});
  assert.deepEqual(
    agents.map(({ name }) => name),
    ['hello'],
  );
  const report = (await (await fetch(`${atoll.url}/health`)).json()) as { pool: { capacity: number } };
  assert.ok(report.pool.capacity > 0, 'the loaded server tells of its runner');
});

test('stopped with its first line, or with a request that waits: a clean end, and the next start is well', async () => {
  await using atoll = await startAtoll();
  assert.equal(await atoll.stop(), 0);
  await atoll.restart();
  const waiting = atoll.client.call('agent.list', {}).catch(() => undefined);
  assert.equal(await atoll.stop(), 0);
  await waiting;
  assert.equal(atoll.stderr, '');
  assert.ok(!(await readdir(atoll.dataDir)).includes('server.pid'));
  await atoll.restart();
  assert.deepEqual((await atoll.client.call('agent.list', {})).agents, []);
});

test('what fails once the server listens ends it with its reason', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'atoll-test-'));
  await writeFile(join(dataDir, 'runner'), 'not a directory');
  await using atoll = await startAtoll({ dataDir });
  await until(async () => (await processesWith(dataDir)).length === 0);
  assert.equal(await atoll.stop(), 1);
  assert.match(atoll.stderr, /EEXIST/);
});

test('a file that is no database is told before the server listens', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'atoll-test-'));
  await writeFile(
    join(dataDir, 'atoll.db'),
    'certainly no database, and long enough to be read as one'.repeat(20),
  );
  await assert.rejects(startAtoll({ dataDir }), /file is not a database/);
  assert.ok(!(await readdir(dataDir)).includes('server.pid'));
  await rm(dataDir, { recursive: true });
});

test('a first start that was cut off before it wrote the key and the id it had begun is made up for', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'atoll-test-'));
  await Promise.all(['admin.key', 'runner.id'].map((name) => writeFile(join(dataDir, name), '')));
  await using atoll = await startAtoll({ dataDir });
  assert.deepEqual((await atoll.client.call('agent.list', {})).agents, []);
  assert.match(await readFile(join(dataDir, 'runner.id'), 'utf8'), /^run_\w{26}\n$/);
});
