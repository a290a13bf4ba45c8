import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadKysely } from './kysely.ts';
import { createSqliteStore } from './sqlite.ts';
import { openSqlite, type SqliteDatabase } from './sqlite-database.ts';
import { storeContract } from './store.contract.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-store-'));
after(() => rmSync(root, { recursive: true, force: true }));

async function open(path: string) {
  const opening = openSqlite({ path });
  const kysely = await loadKysely();
  return createSqliteStore(await opening, kysely);
}

/** Reads until the reader thread runs: then a big read no longer holds up the event loop. */
async function readUntilApart(database: SqliteDatabase): Promise<void> {
  const sql = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    SELECT count(*) AS count FROM n`;
  for (let apart = false; !apart; await new Promise((resolve) => setImmediate(resolve))) {
    let done = false;
    const reading = database.all({ sql, parameters: [] }).then(() => {
      done = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    apart = !done;
    await reading;
  }
}

storeContract('sqlite', () => open(join(root, 'contract.db')));

storeContract('sqlite with its reader thread', async () => {
  const database = await openSqlite({ path: join(root, 'contract-reader.db') });
  await readUntilApart(database);
  return createSqliteStore(database, await loadKysely());
});

test('sqlite: only the owner can read the database and its WAL', async () => {
  const path = join(root, 'private.db');
  const store = await open(path);
  await store.commit([{ query: store.sql.insertInto('meta').values({ key: 'k', value: 'v' }) }]);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(`${path}-wal`).mode & 0o777, 0o600);
  await store.close();
  assert.throws(() => statSync(`${path}-wal`), { code: 'ENOENT' });
});

test('sqlite: capacity is reserved by compare-and-set, and never below nothing', async () => {
  const store = await open(join(root, 'capacity.db'));
  const runner = {
    id: 'run_1',
    tenant: 'a',
    hostname: 'h',
    address: '',
    link: 'local',
    status: 'available',
    registration_id: 'r',
    epoch: 1,
    capacity: 3,
    reserved: 0,
    labels: '{}',
    executor_profiles: '[]',
    drivers: '[]',
    version: '0',
    lease_until: null,
    created_at: '2026-01-01T00:00:00.000Z',
  } as const;
  await store.commit([{ query: store.sql.insertInto('runners').values(runner) }]);
  const reserve = store.sql
    .updateTable('runners')
    .set((row) => ({ reserved: row('reserved', '+', 1) }))
    .where('id', '=', 'run_1')
    .whereRef('reserved', '<', 'capacity');
  const claim = () => store.commit([{ query: reserve, mustChange: { code: 'no_capacity' } }]);
  const results = await Promise.allSettled(Array.from({ length: 10 }, claim));
  assert.equal(results.filter((result) => result.status === 'fulfilled').length, 3);
  const below = { query: store.sql.updateTable('runners').set({ reserved: -1 }) };
  await assert.rejects(store.commit([below]), { code: 'storage_failed' });
  await store.close();
});

test('sqlite: a file that is no database, or no place for one, is a clear refusal', async () => {
  await assert.rejects(openSqlite({ path: join(root, 'nowhere', 'x.db') }), { code: 'storage_failed' });
  await assert.rejects(openSqlite({ path: import.meta.filename.replace(/[^/]*$/, '') }), {
    code: 'storage_failed',
  });
});

test('sqlite: a failure to open waits for its caller', async () => {
  const opening = openSqlite({ path: join(root, 'nowhere', 'x.db') });
  await new Promise((resolve) => setImmediate(resolve));
  await assert.rejects(opening, { code: 'storage_failed' });
});
