/** The reader thread: reads that may be big, away from the event loop and from the writer. */

import { parentPort, workerData } from 'node:worker_threads';
import { openReader, queryRows } from './sqlite-connection.ts';
import type { ReaderReply, ReaderRequest, SqlQuery, SqlRow } from './sqlite-messages.ts';

const port = parentPort;
if (port === null) throw new Error('sqlite-reader.ts runs as a worker thread');
const connection = openReader(String(workerData));

port.on('message', (request: ReaderRequest) => {
  if (request.kind === 'query') {
    answer(request.id, request.query);
    return;
  }
  connection.database.close();
  port.close();
});
port.postMessage({ kind: 'ready' } satisfies ReaderReply);

function answer(id: number, query: SqlQuery): void {
  try {
    const rows = queryRows(connection, query);
    port?.postMessage({ kind: 'rows', id, rows } satisfies ReaderReply, buffersOf(rows));
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    port?.postMessage({ kind: 'failed', id, detail } satisfies ReaderReply);
  }
}

/** Every blob has a buffer of its own, so the bytes move instead of being copied. */
function buffersOf(rows: readonly SqlRow[]): ArrayBuffer[] {
  const buffers: ArrayBuffer[] = [];
  for (const row of rows)
    for (const value of Object.values(row))
      if (value instanceof Uint8Array && value.buffer instanceof ArrayBuffer) buffers.push(value.buffer);
  return buffers;
}
