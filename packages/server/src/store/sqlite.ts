/**
 * The store on SQLite: Kysely builds the queries here, the database's threads run them (`sqlite-database.ts`).
 *
 *   const opening = openSqlite({ path });            the writer thread starts now,
 *   const kysely = await loadKysely();               and opens the file while this thread is busy loading
 *   const store = createSqliteStore(await opening, kysely);
 */

import { AtollError } from '@atoll/protocol/errors';
import type { Compilable, DatabaseConnection, Kysely } from 'kysely';
import type { SqliteDatabase } from './sqlite-database.ts';
import type { SqlStatement, SqlValue, WriteStep } from './sqlite-messages.ts';
import type { Statement, Step, Store } from './store.ts';
import type { Tables } from './tables.ts';

export function createSqliteStore(database: SqliteDatabase, kysely: typeof import('kysely')): Store {
  return {
    sql: queryBuilder(kysely),
    all: async <Row>(query: Compilable<Row> | Statement) => database.all<Row>(sqlStatement(query)),
    first: async <Row>(query: Compilable<Row> | Statement) => database.first<Row>(sqlStatement(query)),
    async commit(steps) {
      await database.run({ steps: sqlSteps(steps) });
    },
    close: () => database.close(),
  };
}

/** Steps as data for the writer thread. Throws on a parameter that SQLite cannot hold. */
export function sqlSteps(steps: readonly Step[]): WriteStep[] {
  return steps.map(({ query, mustChange }) =>
    mustChange === undefined ? sqlStatement(query) : { ...sqlStatement(query), mustChange },
  );
}

function sqlStatement(query: Compilable<unknown> | Statement): SqlStatement {
  const { sql, parameters } = 'compile' in query ? query.compile() : query;
  return { sql, parameters: parameters.map(sqlValue) };
}

function sqlValue(value: unknown): SqlValue {
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (value === null || typeof value === 'string' || typeof value === 'number') return value;
  if (typeof value === 'bigint' || value instanceof Uint8Array) return value;
  throw new AtollError('internal', `A parameter of type ${typeof value} cannot be stored.`);
}

function queryBuilder({
  Kysely,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
}: typeof import('kysely')) {
  const builder: Kysely<Tables> = new Kysely<Tables>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => refusingDriver,
      createIntrospector: (of) => new SqliteIntrospector(of),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  });
  return builder;
}

const refuse = async () => {
  throw new AtollError('internal', 'Queries are only built here; run them with the store.');
};

const refusingDriver = {
  init: async () => undefined,
  acquireConnection: (): Promise<DatabaseConnection> => refuse(),
  beginTransaction: refuse,
  commitTransaction: refuse,
  rollbackTransaction: refuse,
  releaseConnection: refuse,
  destroy: async () => undefined,
};
