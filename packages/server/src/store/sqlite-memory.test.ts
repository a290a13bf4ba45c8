import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logContract } from '../log/log.contract.ts';
import { logCompactionContract } from '../log/log-compaction.contract.ts';
import { logForksContract } from '../log/log-forks.contract.ts';
import { logRetireContract } from '../log/log-retire.contract.ts';
import { createSqliteLog } from '../log/sqlite.ts';
import { loadKysely } from './kysely.ts';
import { createSqliteStore } from './sqlite.ts';
import { createMemoryDisk, type Later, openMemoryDatabase } from './sqlite-memory.fixture.ts';
import { storeContract } from './store.contract.ts';

async function open(disk = createMemoryDisk()) {
  const database = openMemoryDatabase({ disk, later: (step) => setImmediate(step) });
  return { store: createSqliteStore(database, await loadKysely()), log: createSqliteLog(database) };
}

const kept = createMemoryDisk();
storeContract('sqlite in memory', async () => (await open(kept)).store);
logContract('sqlite in memory', open);
logForksContract('sqlite in memory', open);
logRetireContract('sqlite in memory', open);
logCompactionContract('sqlite in memory', open);

test('what was not committed when its owner went is nowhere, and what was stays, answered or not', async () => {
  const disk = createMemoryDisk();
  const steps: (() => void)[] = [];
  const later: Later = (step) => void steps.push(step);
  const insert = (name: string) => ({
    sql: "INSERT INTO agents (tenant, name, created_at, updated_at) VALUES ('t', ?, '', '')",
    parameters: [name],
  });
  const before = openMemoryDatabase({ disk, later });
  void before.run({ steps: [insert('committed')] });
  steps.shift()?.();
  void before.run({ steps: [insert('waiting')] });
  const after = openMemoryDatabase({ disk, later });
  assert.deepEqual(
    after.rows<{ name: string }>({ sql: 'SELECT name FROM agents', parameters: [] }).map(({ name }) => name),
    ['committed'],
  );
  disk.clear();
  assert.deepEqual(after.rows({ sql: 'SELECT name FROM agents', parameters: [] }), []);
});
