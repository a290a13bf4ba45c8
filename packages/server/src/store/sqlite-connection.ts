/** One connection to the database file, with the settings and the statement cache every thread uses. */

import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { unpackChunk } from './chunk-bytes.ts';
import type { SqlQuery, SqlRow } from './sqlite-messages.ts';

/**
 * Measured with 4096, 8192 and 16384 (idle appends of 300 bytes, floods of 64 KiB chunks): idle latency is the same,
 * 4096 loses a third of the flood, and 16384 writes twice the WAL for small appends without being faster.
 */
const PAGE_BYTES = 8192;

/** Past this SQLite checkpoints within a commit, whatever `sqlite-checkpoints.ts` does: the bound of last resort. */
const AUTOMATIC_CHECKPOINT_BYTES = 64 * 1024 * 1024;

/**
 * A WAL that became larger shrinks back to this when it starts again; up to here it is overwritten in place, which is
 * what makes the fsync of a commit cheap (the file's size does not change).
 */
const KEPT_WAL_BYTES = 32 * 1024 * 1024;

const BUSY_TIMEOUT_MS = 5_000;
const MAX_CACHED_STATEMENTS = 500;

export type Connection = {
  readonly database: DatabaseSync;
  /** The prepared statement of this text. */
  statement(sql: string): StatementSync;
};

/**
 * Opens for writing: WAL, and a commit is on disk when it returns (I1). What a savepoint may have to undo stays in
 * memory; else every group of more than eight pages makes and removes a file.
 */
export function openWriter(path: string): Connection {
  const database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: true });
  database.exec(`PRAGMA page_size = ${PAGE_BYTES}`);
  const mode = database.prepare('PRAGMA journal_mode = WAL').get();
  if (mode?.journal_mode !== 'wal') throw new Error('this file system cannot hold a WAL database');
  database.exec(`
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = ${AUTOMATIC_CHECKPOINT_BYTES / PAGE_BYTES};
    PRAGMA journal_size_limit = ${KEPT_WAL_BYTES};
    PRAGMA cache_size = -16384;
    PRAGMA temp_store = MEMORY;
  `);
  return withStatements(database);
}

/** A reader of a WAL database never waits for the writer, nor the writer for it. */
export function openReader(path: string): Connection {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  database.exec('PRAGMA cache_size = -8192');
  return withStatements(database);
}

/** Writes back what it can without holding up anybody; returns the size of the WAL in bytes. */
export function openCheckpointer(path: string): () => number {
  const database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
  database.exec('PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0');
  const checkpoint = database.prepare('PRAGMA wal_checkpoint(PASSIVE)');
  return () => Number(checkpoint.get()?.log ?? 0) * PAGE_BYTES;
}

export function withStatements(database: DatabaseSync): Connection {
  const cached = new Map<string, StatementSync>();
  return {
    database,
    statement(sql) {
      const known = cached.get(sql);
      if (known !== undefined) return known;
      const made = database.prepare(sql);
      if (cached.size >= MAX_CACHED_STATEMENTS) forgetOldest(cached);
      cached.set(sql, made);
      return made;
    },
  };
}

function forgetOldest(cached: Map<string, StatementSync>): void {
  for (const sql of cached.keys()) {
    cached.delete(sql);
    return;
  }
}

export function queryRows(connection: Connection, query: SqlQuery): SqlRow[] {
  const statement = connection.statement(query.sql);
  if (query.untilBytes === undefined) return statement.all(...query.parameters);
  const rows: SqlRow[] = [];
  let bytes = 0;
  for (const row of statement.iterate(...query.parameters)) {
    const frames = row.frames instanceof Uint8Array ? unpackChunk(row.frames) : undefined;
    rows.push(frames === undefined ? row : { ...row, frames });
    bytes += frames?.length ?? 0;
    if (bytes >= query.untilBytes) break;
  }
  return rows;
}
