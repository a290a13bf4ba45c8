/**
 * The schema's history. A migration, once released, is never changed; a new one is added at the end with its `floor`:
 * the oldest schema version whose code may still open the database after it. A database from newer code is opened
 * while its floor allows that, so a roll-back of the program works; below the floor it is refused.
 */

import type { DatabaseSync } from 'node:sqlite';
import { adoptionSchema } from './adoption-schema.ts';
import { approvalsSchema } from './approvals-schema.ts';
import { bareSandboxesSchema } from './bare-sandboxes-schema.ts';
import { credentialsSchema } from './credentials-schema.ts';
import { firstSchema } from './first-schema.ts';
import { forksSchema } from './forks-schema.ts';
import { modelUseSchema } from './model-use-schema.ts';
import { retentionSchema } from './retention-schema.ts';
import { runnerProofSchema } from './runner-proof-schema.ts';
import { sandboxSnapshotsSchema } from './sandbox-snapshots-schema.ts';
import { snapshotsSchema } from './snapshots-schema.ts';
import { usageSchema } from './usage-schema.ts';
import { warmSchema } from './warm-schema.ts';

export type Migration = { version: number; floor: number; sql: string };

export const migrations: readonly Migration[] = [
  { version: 1, floor: 1, sql: firstSchema },
  { version: 2, floor: 1, sql: credentialsSchema },
  { version: 3, floor: 1, sql: approvalsSchema },
  { version: 4, floor: 1, sql: modelUseSchema },
  { version: 5, floor: 1, sql: snapshotsSchema },
  { version: 6, floor: 1, sql: forksSchema },
  { version: 7, floor: 1, sql: warmSchema },
  { version: 8, floor: 1, sql: bareSandboxesSchema },
  { version: 9, floor: 1, sql: usageSchema },
  { version: 10, floor: 1, sql: retentionSchema },
  { version: 11, floor: 1, sql: adoptionSchema },
  { version: 12, floor: 12, sql: sandboxSnapshotsSchema },
  { version: 13, floor: 12, sql: runnerProofSchema },
];

/** Brings the database up to this code in one transaction. Throws when the database must not be opened by it. */
export function migrate(database: DatabaseSync, known: readonly Migration[] = migrations): void {
  const ours = known.at(-1)?.version ?? 0;
  const theirs = schemaOf(database);
  if (theirs.floor > ours)
    throw new Error(
      `the database has schema ${theirs.version}, which needs at least schema ${theirs.floor}; this program knows ` +
        `schema ${ours}: start the newer version of Atoll`,
    );
  const missing = known.filter((migration) => migration.version > theirs.version);
  if (missing.length > 0) apply(database, missing);
}

function schemaOf(database: DatabaseSync): { version: number; floor: number } {
  const made = database.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'").get();
  if (made === undefined) return { version: 0, floor: 0 };
  const read = database.prepare('SELECT value FROM meta WHERE key = ?');
  const number = (key: string) => Number(read.get(key)?.value ?? 0);
  return { version: number('schema_version'), floor: number('schema_floor') };
}

function apply(database: DatabaseSync, missing: readonly Migration[]): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    for (const { version, floor, sql } of missing) {
      database.exec(sql);
      const write = database.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)');
      write.run('schema_version', String(version));
      write.run('schema_floor', String(floor));
    }
    database.exec('COMMIT');
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}
