/**
 * The SQLite database as seen from the event loop: one file, three ways to it.
 *
 *   writer thread   every commit (group commit, I1); units and answers cross as messages
 *   reader thread   reads that may be big; started when there is much to read, and until it runs they are done here
 *   this thread     reads of a row or few: 7 µs here against 95 µs through a thread, and in WAL mode such a read
 *                   never waits for the writer. A page of 1,000 rows is 1.6 ms here, so those go to the reader.
 *
 * Bytes: `postMessage` would clone the whole pool behind a small Buffer, and the caller goes on using its bytes, so
 * they are copied once: to a ring that both threads see (byte-ring.ts), or, where that has no room and for values of
 * rows, to a buffer of their own size that is transferred.
 */

import { chmodSync, closeSync, openSync } from 'node:fs';
import { AtollError } from '@atoll/protocol/errors';
import { openReader, queryRows } from './sqlite-connection.ts';
import type { SqlQuery, SqlStatement, Unit } from './sqlite-messages.ts';
import { createReaderThread, type ReaderThread } from './sqlite-reader-thread.ts';
import { startWriterThread } from './sqlite-writer-thread.ts';

/** The reader thread starts once the reads done here for it have taken this long: not for a server that starts. */
const READING_HERE_MS = 10;

export type SqliteDatabase = {
  /** Commits one unit; resolves with the commit's time once it is durable (I1). */
  run(unit: Unit): Promise<{ time: string }>;
  /** Reads that may be big, in the background. */
  all<Row>(query: SqlQuery): Promise<Row[]>;
  /** Reads of few rows, at once. */
  rows<Row>(query: SqlStatement): Row[];
  first<Row>(query: SqlStatement): Row | undefined;
  /** Finishes what waits, writes the WAL back and closes. Later calls reject with `shutting_down`. */
  close(): Promise<void>;
};

/**
 * Opens or makes the database file (mode 0600; its directory must be there) and brings its schema up to date. The
 * writer thread starts before this returns its promise, so loading other code meanwhile costs nothing.
 * Rejects with `storage_failed` when the file cannot be used or belongs to newer code.
 */
export function openSqlite({ path }: { path: string }): Promise<SqliteDatabase> {
  const opening = open(path);
  // The caller may load other code before it awaits this; a failure until then must not count as unhandled.
  opening.catch(() => undefined);
  return opening;
}

async function open(path: string): Promise<SqliteDatabase> {
  makePrivate(path);
  const writer = await startWriterThread(path);
  const here = openReader(path);
  const reader = createReaderThread(path);
  let readingMs = 0;
  let closing: Promise<void> | undefined;

  const rows = <Row>(query: SqlQuery): Row[] => {
    if (closing !== undefined) throw closedError();
    try {
      // The rows have the shape that the query's author declared; the schema is ours.
      return queryRows(here, query) as Row[];
    } catch (cause) {
      throw readFailed(cause);
    }
  };

  const rowsForReader = <Row>(query: SqlQuery): Row[] => {
    const before = performance.now();
    const found = rows<Row>(query);
    readingMs += performance.now() - before;
    if (readingMs >= READING_HERE_MS) reader.start();
    return found;
  };

  return {
    run: (unit) => (closing === undefined ? writer.run(unit) : Promise.reject(closedError())),
    async all<Row>(query: SqlQuery) {
      if (closing !== undefined) throw closedError();
      return reader.isReady() ? ((await reader.all(query)) as Row[]) : rowsForReader<Row>(query);
    },
    rows,
    first: <Row>(query: SqlStatement) => rows<Row>(query)[0],
    close() {
      closing ??= closeAll(reader, writer, () => here.database.close());
      return closing;
    },
  };
}

/** The readers first: the writer's last checkpoint needs the file for itself. */
async function closeAll(reader: ReaderThread, writer: { close(): Promise<void> }, closeHere: () => void) {
  await reader.close();
  closeHere();
  await writer.close();
}

function makePrivate(path: string): void {
  try {
    // SQLite gives the WAL the mode of the database file.
    closeSync(openSync(path, 'a', 0o600));
    chmodSync(path, 0o600);
  } catch (cause) {
    throw new AtollError('storage_failed', `The database ${path} cannot be opened.`, { cause });
  }
}

function closedError(): AtollError {
  return new AtollError('shutting_down', 'The store is closed.');
}

function readFailed(cause: unknown): AtollError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new AtollError('storage_failed', `The store could not read: ${reason}.`, { cause });
}
