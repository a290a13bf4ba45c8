import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { type Migration, migrate, migrations } from './migrations.ts';
import { openSqlite } from './sqlite-database.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-migrations-'));
after(() => rmSync(root, { recursive: true, force: true }));

const ours = migrations.length;
const next: Migration = { version: ours + 1, floor: 1, sql: 'CREATE TABLE later (id TEXT) STRICT' };
const breaking: Migration = { version: ours + 2, floor: ours + 2, sql: 'DROP TABLE later' };

function metaValue(database: DatabaseSync, key: string): unknown {
  return database.prepare('SELECT value FROM meta WHERE key = ?').get(key)?.value;
}

test('migrations are numbered from 1 without a gap, and no floor is above its version', () => {
  for (const [index, { version, floor }] of migrations.entries()) {
    assert.equal(version, index + 1);
    assert.ok(floor <= version);
  }
});

test('an empty database gets every table; again changes nothing', () => {
  const database = new DatabaseSync(':memory:');
  migrate(database);
  migrate(database);
  assert.equal(metaValue(database, 'schema_version'), String(migrations.length));
  const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").all();
  assert.deepEqual(
    tables.map((table) => table.name),
    'agent_versions agents approvals credentials jobs keys log_checkpoints log_chunks logs meta model_use registrations runners sandbox_snapshots sandboxes sessions snapshots turns usage_days'.split(
      ' ',
    ),
  );
});

test('no migration opens the database again to programs that the one before it shut out', () => {
  const floors = migrations.map(({ floor }) => floor);
  assert.deepEqual(
    floors,
    floors.toSorted((a, b) => a - b),
  );
});

test('only what is missing is applied', () => {
  const database = new DatabaseSync(':memory:');
  migrate(database);
  migrate(database, [...migrations, next]);
  assert.equal(metaValue(database, 'schema_version'), String(ours + 1));
  assert.equal(metaValue(database, 'schema_floor'), '1');
});

test('what was used before usage was counted is counted then', () => {
  const database = new DatabaseSync(':memory:');
  migrate(
    database,
    migrations.filter(({ version }) => version < 9),
  );
  database.exec(`
    INSERT INTO sessions (id, tenant, agent, agent_version, status, epoch, log_id, settings, metadata, usage, binding,
      created_at, updated_at) VALUES ('ses_1', 'a', 'helper', 1, 'idle', 1, 'ses_1', '{}', '{}', '{}', '{}', '', '');
    INSERT INTO turns (id, tenant, session_id, epoch, status, input_seq, usage, created_at, ended_at) VALUES
      ('turn_1', 'a', 'ses_1', 1, 'completed', 1, '{"inputTokens":7,"costUsd":0.5}', '', '2026-01-01T10:00:00.000Z'),
      ('turn_2', 'a', 'ses_1', 1, 'failed', 5, NULL, '', '2026-01-01T11:00:00.000Z'),
      ('turn_3', 'a', 'ses_1', 1, 'running', 9, NULL, '', NULL);
    INSERT INTO snapshots VALUES ('snap_1', 'a', 'ses_1', 1, 4, 'complete', 'r', NULL, NULL, 1, 9, 5, 0, '',
      '2026-01-01T10:00:01.000Z');
    INSERT INTO logs (id, tenant, session_id, last_seq, line, epoch, created_at) VALUES ('ses_1', 'a', 'ses_1', 1, 0, 1, '');
    INSERT INTO log_chunks VALUES ('ses_1', 'a', 1, 1, 1, '', x'010203');
  `);
  migrate(database);
  const used = database
    .prepare('SELECT day, agent, session_id, turns, input_tokens, cost_usd, snapshot_bytes FROM usage_days')
    .all();
  assert.deepEqual(
    used.map((row) => Object.values(row)),
    [['2026-01-01', 'helper', 'ses_1', 2, 7, 0.5, 5]],
  );
  assert.equal(database.prepare('SELECT bytes FROM logs').get()?.bytes, 3);
});

test('newer code left a schema: opened while its floor allows, refused below', () => {
  const database = new DatabaseSync(':memory:');
  migrate(database, [...migrations, next]);
  migrate(database);
  assert.equal(metaValue(database, 'schema_version'), String(ours + 1));
  migrate(database, [...migrations, next, breaking]);
  assert.throws(
    () => migrate(database),
    new RegExp(
      `schema ${ours + 2}, which needs at least schema ${ours + 2}; this program knows schema ${ours}:`,
    ),
  );
});

test('migrations that fail leave the database as it was', () => {
  const database = new DatabaseSync(':memory:');
  migrate(database);
  const broken: Migration = { version: ours + 2, floor: 1, sql: 'CREATE TABLE x (id TEXT); NONSENSE' };
  assert.throws(() => migrate(database, [...migrations, next, broken]));
  assert.equal(metaValue(database, 'schema_version'), String(ours));
  assert.equal(database.prepare("SELECT 1 FROM sqlite_master WHERE name IN ('later', 'x')").get(), undefined);
});

test('opening says why it refuses', async () => {
  const path = join(root, 'newer.db');
  const database = new DatabaseSync(path);
  migrate(database, [...migrations, next, breaking]);
  database.close();
  await assert.rejects(openSqlite({ path }), {
    code: 'storage_failed',
    message: /start the newer version of Atoll/,
  });
  const noDatabase = join(root, 'text.db');
  writeFileSync(noDatabase, 'this is a text file, and not a short one '.repeat(100));
  await assert.rejects(openSqlite({ path: noDatabase }), {
    code: 'storage_failed',
    message: /not a database/,
  });
});
