import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadKysely } from './kysely.ts';
import { prepared } from './prepared.ts';
import { createSqliteStore } from './sqlite.ts';
import type { SqliteDatabase } from './sqlite-database.ts';
import type { KeyRow } from './tables.ts';

test('a query is built once, and is what building it with its values would give', async () => {
  const store = createSqliteStore({} as SqliteDatabase, await loadKysely());
  let built = 0;
  const rename = prepared<KeyRow, 'id' | 'name' | 'role'>(
    ['id', 'name', 'role'],
    (sql, { id, ...change }) => {
      built++;
      return sql.updateTable('keys').set(change).where('id', '=', id).where('tenant', '=', 'fixed');
    },
  );
  for (const values of [
    { id: 'key_1', name: null, role: 'admin' as const },
    { id: 'key_2', name: 'role', role: 'client' as const },
  ]) {
    const { id, ...change } = values;
    const query = store.sql
      .updateTable('keys')
      .set(change)
      .where('id', '=', id)
      .where('tenant', '=', 'fixed');
    const { sql, parameters } = query.compile();
    assert.deepEqual(rename(store, values), { sql, parameters });
  }
  assert.equal(built, 1);
});
