/** The checkpoint thread: writes the WAL back into the database file while the writer thread goes on committing. */

import { parentPort, workerData } from 'node:worker_threads';
import { openCheckpointer } from './sqlite-connection.ts';

const port = parentPort;
if (port === null) throw new Error('sqlite-checkpointer.ts runs as a worker thread');
const checkpoint = openCheckpointer(String(workerData));

// Each message asks for one checkpoint; the answer is the WAL's size in bytes.
port.on('message', () => port.postMessage(checkpoint()));
