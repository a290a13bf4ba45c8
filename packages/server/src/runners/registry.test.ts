import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { newId } from '@atoll/protocol/ids';
import { access } from '../keys/access.ts';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite } from '../store/sqlite-database.ts';
import type { SandboxRow } from '../store/tables.ts';
import { goneLink } from './gone-link.ts';
import { createRunnerRegistry } from './registry.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-registry-'));
const store = createSqliteStore(await openSqlite({ path: join(root, 'atoll.db') }), await loadKysely());
after(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

/** As a server that starts anew: it knows the rows of an earlier one, and nobody is there. */
const startAnew = () => createRunnerRegistry({ store, now: () => 0 });

const info = {
  ...{ hostname: 'h', address: 'http://127.0.0.1:1', link: 'http' as const, capacity: 1, labels: {} },
  ...{ executorProfiles: [], drivers: [], version: '0' },
};

/** What it returns loses it. */
async function registered(runnerId: string, tenant: string | undefined): Promise<() => Promise<void>> {
  const id = newId('job');
  const registration = { id, tenant, leaseUntil: null, callbackHash: 'its-own', reserved: 0 };
  const registry = startAnew();
  await registry.attach(goneLink(runnerId), info, registration);
  return () => registry.lost(runnerId, id);
}

async function sandboxOn(runnerId: string, tenant: string): Promise<string> {
  const id = newId('sandbox');
  const row: SandboxRow = {
    ...{ id, tenant, session_id: null, runner_id: runnerId, epoch: 1, status: 'ready', cause: null },
    ...{ detail: null, name: null, request: null, created_at: '', ready_at: '', ended_at: null, counted: 0 },
  };
  await store.commit([{ query: store.sql.insertInto('sandboxes').values(row) }]);
  return id;
}

const mayTake = (tenant: string, runnerId: string) => startAnew().mayTake(access(tenant, 'runner'), runnerId);

test('a runner keeps its tenant when the server starts anew', async () => {
  await registered('a-runner', 'a');
  assert.deepEqual(
    [await mayTake('a', 'a-runner'), await mayTake('b', 'a-runner'), await mayTake('b', 'new')],
    [true, false, true],
  );
  assert.equal(await startAnew().mayTake(access('b', 'admin'), 'a-runner'), true);
});

test('what served everybody is taken by one tenant only while nothing of the others is there', async () => {
  await registered('shared', undefined);
  assert.equal(await mayTake('default', 'shared'), true);
  await sandboxOn('shared', 'default');
  assert.equal(await mayTake('default', 'shared'), true);
  const id = await sandboxOn('shared', 'a');
  assert.deepEqual([await mayTake('default', 'shared'), await mayTake('a', 'shared')], [false, false]);
  const end = store.sql.updateTable('sandboxes').set({ status: 'ended', ended_at: '' }).where('id', '=', id);
  await store.commit([{ query: end }]);
  assert.equal(await mayTake('default', 'shared'), true);
});

test('a name is its runner’s, though the server starts anew, until every lease of before is over or that one is lost', async () => {
  const lose = await registered('named', 'a');
  const registry = startAnew();
  const taken = () => Promise.all(['its-own', 'another'].map((hash) => registry.isTaken('named', hash)));
  assert.deepEqual(await taken(), [false, true]);
  assert.equal(await registry.isTaken('new', 'another'), false);
  registry.leasesOver();
  assert.deepEqual(await taken(), [false, false]);
  await lose();
  assert.equal(await startAnew().isTaken('named', 'another'), false);
});

test('who was there before is awaited until every lease of before is over, for the tenants that it may serve', async () => {
  const lose = await registered('away', 'a');
  await registered('of-all', undefined);
  const registry = startAnew();
  const absent = async (tenant: string) => {
    const found = await registry.absent(tenant);
    return found.map(({ id }) => id).filter((id) => ['away', 'of-all'].includes(id));
  };
  assert.deepEqual([await absent('a'), await absent('b')], [['away', 'of-all'], ['of-all']]);
  const next = registry.next();
  await lose();
  assert.deepEqual(await absent('a'), ['of-all']);
  await registry.attach(goneLink('of-all'), info);
  await next;
  assert.deepEqual(await absent('a'), []);
  await registered('away', 'a');
  registry.leasesOver();
  assert.deepEqual(await absent('a'), []);
});
