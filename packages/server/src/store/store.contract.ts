/** What every Store must do. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Step, Store } from './store.ts';
import type { KeyRow } from './tables.ts';

export type OpenStore = () => Promise<Store>;

export function storeContract(name: string, open: OpenStore): void {
  const opening = open();
  after(async () => (await opening).close());
  let ids = 0;
  const newKey = (fields: Partial<KeyRow> = {}): KeyRow => {
    const id = `key_${String(ids++).padStart(6, '0')}`;
    const row = { id, tenant: 'a', role: 'client', name: null, hash: `hash of ${id}` } as const;
    return { ...row, created_at: '2026-01-01T00:00:00.000Z', expires_at: null, ...fields };
  };
  const insert = (store: Store, row: KeyRow): Step => ({ query: store.sql.insertInto('keys').values(row) });
  const find = (store: Store, id: string) =>
    store.first(store.sql.selectFrom('keys').selectAll().where('id', '=', id));
  const rename = (store: Store, row: KeyRow, from: string | null, to: string): Step => ({
    query: store.sql.updateTable('keys').set({ name: to }).where('id', '=', row.id).where('name', 'is', from),
    mustChange: { code: 'illegal_transition', detail: 'It was renamed meanwhile.' },
  });

  test(`${name}: reads its own writes, by both ways`, async () => {
    const store = await opening;
    for (let round = 0; round < 50; round++) {
      const row = newKey();
      await store.commit([insert(store, row)]);
      assert.deepEqual({ ...(await find(store, row.id)) }, row);
      const all = await store.all(store.sql.selectFrom('keys').selectAll().where('id', '=', row.id));
      assert.deepEqual(
        all.map((found) => ({ ...found })),
        [row],
      );
    }
    assert.equal(await find(store, 'key_none'), undefined);
  });

  test(`${name}: a unit is all or nothing`, async () => {
    const store = await opening;
    const [one, two] = [newKey(), newKey()];
    const failing = [insert(store, one), insert(store, two), insert(store, one)];
    await assert.rejects(store.commit(failing), { code: 'storage_failed' });
    assert.equal(await find(store, one.id), undefined);
    assert.equal(await find(store, two.id), undefined);
  });

  test(`${name}: units committed together fail alone`, async () => {
    const store = await opening;
    const rows = Array.from({ length: 100 }, () => newKey());
    const results = await Promise.allSettled(
      rows.map((row, index) => {
        const broken = index % 3 === 1;
        return store.commit(broken ? [insert(store, row), insert(store, row)] : [insert(store, row)]);
      }),
    );
    for (const [index, row] of rows.entries()) {
      const kept = index % 3 !== 1;
      assert.equal(results[index]?.status, kept ? 'fulfilled' : 'rejected');
      assert.equal((await find(store, row.id)) !== undefined, kept);
    }
  });

  test(`${name}: a unit sees what the units before it did`, async () => {
    const store = await opening;
    const row = newKey();
    await Promise.all([
      store.commit([insert(store, row)]),
      store.commit([rename(store, row, null, 'first')]),
      store.commit([rename(store, row, 'first', 'second')]),
    ]);
    assert.equal((await find(store, row.id))?.name, 'second');
  });

  test(`${name}: a step that must change and does not undoes its unit with its own code`, async () => {
    const store = await opening;
    const [row, other] = [newKey({ name: 'x' }), newKey()];
    await store.commit([insert(store, row)]);
    const unit = [insert(store, other), rename(store, row, 'y', 'z')];
    await assert.rejects(store.commit(unit), {
      code: 'illegal_transition',
      detail: 'It was renamed meanwhile.',
    });
    assert.equal(await find(store, other.id), undefined);
    assert.equal((await find(store, row.id))?.name, 'x');
  });

  test(`${name}: of many that compare and set, one wins`, async () => {
    const store = await opening;
    const row = newKey({ name: 'free' });
    await store.commit([insert(store, row)]);
    const claims = Array.from({ length: 20 }, (_, n) => store.commit([rename(store, row, 'free', `${n}`)]));
    const results = await Promise.allSettled(claims);
    assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1);
  });

  test(`${name}: pages of a list go by id, both ways`, async () => {
    const store = await opening;
    const rows = Array.from({ length: 25 }, () => newKey({ tenant: 'pages' }));
    await Promise.all(rows.map((row) => store.commit([insert(store, row)])));
    const page = (before: string) =>
      store.all(
        store.sql
          .selectFrom('keys')
          .select('id')
          .where('tenant', '=', 'pages')
          .where('id', '<', before)
          .orderBy('id', 'desc')
          .limit(10),
      );
    const seen: string[] = [];
    for (let rest = await page('l'); rest.length > 0; rest = await page(seen.at(-1) ?? ''))
      seen.push(...rest.map((row) => row.id));
    assert.deepEqual(
      seen,
      rows
        .map((row) => row.id)
        .sort()
        .reverse(),
    );
  });

  test(`${name}: text comes back as it went in`, async () => {
    const store = await opening;
    const row = newKey({ name: 'é€😀 "\' \n; DROP TABLE keys --' });
    await store.commit([insert(store, row)]);
    assert.equal((await find(store, row.id))?.name, row.name);
  });

  test(`${name}: a query never runs by itself`, async () => {
    const store = await opening;
    await assert.rejects(store.sql.selectFrom('keys').selectAll().execute(), { code: 'internal' });
  });

  test(`${name}: a query that cannot run rejects and harms nothing`, async () => {
    const store = await opening;
    const broken = { query: { sql: 'INSERT INTO nowhere VALUES (?)', parameters: [1] } };
    await assert.rejects(store.commit([broken]), { code: 'storage_failed' });
    const unstorable = { query: { sql: 'INSERT INTO meta VALUES (?, ?)', parameters: ['x', {}] } };
    await assert.rejects(store.commit([unstorable]), { code: 'internal' });
    const row = newKey();
    await store.commit([insert(store, row)]);
    assert.notEqual(await find(store, row.id), undefined);
  });

  test(`${name}: closing finishes what waits and refuses what comes later`, async () => {
    const store = await open();
    const rows = Array.from({ length: 50 }, () => newKey());
    const commits = rows.map((row) => store.commit([insert(store, row)]));
    const closed = store.close();
    await assert.rejects(store.commit([insert(store, newKey())]), { code: 'shutting_down' });
    await assert.rejects(find(store, 'key_none'), { code: 'shutting_down' });
    await Promise.all(commits);
    await closed;
    await store.close();
    const reopened = await open();
    for (const row of rows) assert.notEqual(await find(reopened, row.id), undefined);
    await reopened.close();
  });
}
