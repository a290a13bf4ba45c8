/**
 * The writer thread: the only one that changes the database. It takes whatever waits as one group, so an idle store
 * commits at once and a busy one batches by itself (I1). Imports only small files of ours and node: modules, since
 * the server is not healthy before this thread is.
 */

import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { migrate } from './migrations.ts';
import { type Checkpoints, createCheckpoints } from './sqlite-checkpoints.ts';
import { type Connection, openWriter } from './sqlite-connection.ts';
import type { Unit, WriterReply, WriterRequest } from './sqlite-messages.ts';
import { runGroup } from './sqlite-units.ts';

/** Keeps the first unit of a group from waiting for very many others. */
const MAX_GROUP_BYTES = 4 * 1024 * 1024;
/** What a unit adds to the WAL beside its frames: a few pages. Only an estimate, to know when to checkpoint. */
const UNIT_BYTES = 16 * 1024;

const port = parentPort;
if (port === null) throw new Error('sqlite-writer.ts runs as a worker thread');
const reply = (message: WriterReply) => port.postMessage(message);

const path = String(workerData);

try {
  const connection = openWriter(path);
  migrate(connection.database);
  serve(connection);
  reply({ kind: 'open' });
} catch (error) {
  reply({ kind: 'not_open', detail: error instanceof Error ? error.message : String(error) });
}

function serve(connection: Connection): void {
  const checkpoints = createCheckpoints(connection, path);
  port?.on('message', (first: WriterRequest) => {
    const { units, bytes, closing } = takeWaiting(first);
    if (units.length > 0) {
      reply({ kind: 'outcomes', outcomes: runGroup(connection, units) });
      checkpoints.committed(bytes);
    }
    if (closing) void close(connection, checkpoints);
  });
}

async function close(connection: Connection, checkpoints: Checkpoints): Promise<void> {
  await checkpoints.stop();
  connection.database.close();
  port?.close();
}

type Group = { units: Unit<Uint8Array>[]; bytes: number; closing: boolean };

function takeWaiting(first: WriterRequest): Group {
  const units: Unit<Uint8Array>[] = [];
  let bytes = 0;
  let request: WriterRequest | undefined = first;
  while (request !== undefined) {
    if (request.kind === 'close') return { units, bytes, closing: true };
    units.push(request.unit);
    bytes += UNIT_BYTES + (request.unit.append?.frames.length ?? 0);
    request = bytes < MAX_GROUP_BYTES ? nextWaiting() : undefined;
  }
  return { units, bytes, closing: false };
}

function nextWaiting(): WriterRequest | undefined {
  return port === null ? undefined : receiveMessageOnPort(port)?.message;
}
