import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { newId } from '@atoll/protocol/ids';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite } from '../store/sqlite-database.ts';
import { removeOldRows } from './old-rows.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-old-rows-'));
const store = createSqliteStore(await openSqlite({ path: join(root, 'atoll.db') }), await loadKysely());
const { sql } = store;
after(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const DAY_MS = 24 * 60 * 60_000;
const time = (ms: number) => new Date(ms).toISOString();

/** A sandbox that ended then, or did not, with a snapshot. */
async function sandbox(endedAtMs: number | undefined): Promise<string> {
  const id = newId('sandbox');
  const row = {
    ...{ id, tenant: 't', session_id: null, runner_id: 'one', epoch: 1, name: null, request: '{}' },
    ...{
      status: endedAtMs === undefined ? ('ready' as const) : ('ended' as const),
      cause: null,
      detail: null,
    },
    ...{
      created_at: time(0),
      ready_at: time(0),
      counted: endedAtMs === undefined ? (0 as const) : (1 as const),
    },
    ended_at: endedAtMs === undefined ? null : time(endedAtMs),
  };
  const sizes = { files: 1, size_bytes: 1, stored_bytes: 1, skipped: 0 };
  const of = { id: newId('snapshot'), tenant: 't', sandbox_id: id, root: 'r', created_at: time(0) };
  await store.commit([
    { query: sql.insertInto('sandboxes').values(row) },
    { query: sql.insertInto('sandbox_snapshots').values({ ...of, ...sizes }) },
  ]);
  return id;
}

test('a sandbox that ended long ago goes with its snapshots, and no other', async () => {
  const now = Date.now();
  await sandbox(now - 2 * DAY_MS);
  const stay = [await sandbox(now), await sandbox(undefined)].sort();
  assert.equal(await removeOldRows(store, now - DAY_MS), 1);
  const left = (rows: readonly { id: string }[]) => rows.map(({ id }) => id).sort();
  assert.deepEqual(left(await store.all(sql.selectFrom('sandboxes').select('id'))), stay);
  const owners = await store.all(sql.selectFrom('sandbox_snapshots').select('sandbox_id as id'));
  assert.deepEqual(left(owners), stay);
});
