/**
 * The SQLite database without its file and its threads: the same statements, in memory, when somebody says so. What was
 * committed stays in `MemoryDisk` when whoever opened it is gone; what was not, nobody has.
 */
import { DatabaseSync } from 'node:sqlite';
import { AtollError } from '@atoll/protocol/errors';
import { concatBytes } from '@atoll/protocol/lines';
import { migrate } from './migrations.ts';
import { type Connection, queryRows, withStatements } from './sqlite-connection.ts';
import type { SqliteDatabase } from './sqlite-database.ts';
import type { Outcome, SqlQuery, SqlStatement, Unit } from './sqlite-messages.ts';
import { runGroup } from './sqlite-units.ts';

export type MemoryDisk = {
  readonly connection: Connection;
  /** As new. */
  clear(): void;
};

/** `clock`: ISO time of commits, where it is not that of this machine. */
export function createMemoryDisk(clock?: () => string): MemoryDisk {
  const database = new DatabaseSync(':memory:', { enableForeignKeyConstraints: true });
  // The only form in which the product asks for the time.
  if (clock !== undefined) database.function('strftime', { varargs: true }, clock);
  migrate(database);
  const named = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
  const tables = named.map(({ name }) => String(name)).filter((name) => !name.startsWith('sqlite_'));
  const kept = tables.filter((name) => database.prepare(`SELECT 1 FROM "${name}"`).get() !== undefined);
  return {
    connection: withStatements(database),
    clear() {
      database.exec('PRAGMA foreign_keys = OFF');
      for (const name of tables) if (!kept.includes(name)) database.exec(`DELETE FROM "${name}"`);
      database.exec('PRAGMA foreign_keys = ON');
    },
  };
}

export type Later = (step: () => void) => void;

export type MemoryDatabaseOptions = {
  disk: MemoryDisk;
  /** What waits is committed when it calls the step, and answered when it calls the next one; so in order. */
  later: Later;
  /** Reads in the background are answered when it calls the step. */
  laterRead?: Later;
  /** Of what was just committed, before anybody is answered. */
  onCommitted?: (unit: Unit<Uint8Array>) => void;
};

type Waiting = { unit: Unit<Uint8Array>; answer: PromiseWithResolvers<{ time: string }> };

export function openMemoryDatabase(options: MemoryDatabaseOptions): SqliteDatabase {
  const { disk, later, laterRead = later, onCommitted = () => undefined } = options;
  const { connection } = disk;
  const waiting: Waiting[] = [];
  let busy = false;
  let closed = false;

  function commitSoon(): void {
    if (busy || waiting.length === 0) return;
    busy = true;
    later(() => {
      const group = waiting.splice(0);
      const outcomes = runGroup(
        connection,
        group.map(({ unit }) => unit),
      );
      for (const [i, { unit }] of group.entries()) if (outcomes[i]?.kind === 'committed') onCommitted(unit);
      later(() => {
        busy = false;
        for (const [i, { answer }] of group.entries()) settle(answer, outcomes[i]);
        commitSoon();
      });
    });
  }

  function rows<Row>(query: SqlQuery): Row[] {
    if (closed) throw new AtollError('shutting_down', 'The store is closed.');
    // The rows have the shape that the query's author declared; the schema is ours.
    return queryRows(connection, query) as Row[];
  }

  return {
    run({ append, ...unit }) {
      if (closed) return Promise.reject(new AtollError('shutting_down', 'The store is closed.'));
      const answer = Promise.withResolvers<{ time: string }>();
      const chunk = append && { append: { ...append, frames: concatBytes(append.frames) } };
      waiting.push({ unit: { ...unit, ...chunk }, answer });
      commitSoon();
      return answer.promise;
    },
    async all<Row>(query: SqlQuery) {
      await new Promise<void>(laterRead);
      return rows<Row>(query);
    },
    rows,
    first: <Row>(query: SqlStatement) => rows<Row>(query)[0],
    async close() {
      closed = true;
      while (busy || waiting.length > 0) await new Promise<void>(later);
    },
  };
}

function settle(answer: PromiseWithResolvers<{ time: string }>, outcome: Outcome | undefined): void {
  if (outcome?.kind === 'committed') answer.resolve({ time: outcome.time });
  else answer.reject(new AtollError(outcome?.code ?? 'storage_failed', outcome?.detail));
}
