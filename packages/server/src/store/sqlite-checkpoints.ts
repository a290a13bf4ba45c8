/**
 * When the WAL is written back. Whoever does it waits for the disk, and commits wait with them if it is the writer:
 *
 *   calm    nothing came for a while: the writer does it, and nobody waits
 *   busy    another thread does it (PASSIVE never holds up commits); it never quite catches up, so now and then the
 *           writer does the small rest, and its next commit starts the WAL from the beginning
 *   flood   the writer does it, often and little by little: both at once would fight for the disk
 *
 * Measured, p99 of an append (and the worst). Beside ten sessions with 130,000 events/s together: 12 (13) ms by the
 * writer alone, 4 (12) with the other thread. Floods that fill the disk's bandwidth: 5–20 (22) ms by the writer every
 * 4 MB, 16–38 (44) every 8 MB, 60–190 (210) with the other thread. Larger steps showed no
 * more events/s than the disk's own noise (median of 5 runs each; 32 MB: 2), and a longer wait: p99 of a small append
 * beside one log's flood was 10, 32, 24 and 110 ms with steps of 4, 8, 16 and 32 MB.
 */

import type { Worker } from 'node:worker_threads';
import type { Connection } from './sqlite-connection.ts';
import { startThread } from './sqlite-thread.ts';

const CALM_MS = 200;
const BUSY_BYTES = 2 * 1024 * 1024;
/** Faster than BUSY_BYTES in this time, 40 MB/s, is a flood. */
const FLOOD_MS = 50;
const FLOOD_BYTES = 4 * 1024 * 1024;
/** From here on the WAL is to start from its beginning again. */
const WAL_BYTES = 8 * 1024 * 1024;

export type Checkpoints = {
  /** To be called after every commit, with about what it added to the WAL. */
  committed(bytes: number): void;
  /** Ends the other thread and empties the WAL. */
  stop(): Promise<void>;
};

export function createCheckpoints(connection: Connection, path: string): Checkpoints {
  let other: Worker | undefined;
  let asked = false;
  /** Committed since the last checkpoint began, and when that was. */
  let restBytes = 0;
  let since = performance.now();

  const begin = () => {
    restBytes = 0;
    since = performance.now();
  };
  const writeBack = () => {
    begin();
    runCheckpoint(connection, 'PASSIVE');
  };
  const ask = () => {
    begin();
    asked = true;
    other ??= startOther();
    other.postMessage('checkpoint');
  };
  const startOther = () => {
    const worker = startThread('./sqlite-checkpointer.ts', path);
    worker.on('message', (walBytes: number) => {
      asked = false;
      if (walBytes >= WAL_BYTES) writeBack();
    });
    // Without it the writer goes on alone, and the next busy time starts another one.
    worker.on('error', () => {
      other = undefined;
      asked = false;
    });
    return worker;
  };
  const calm = setTimeout(() => {
    if (restBytes > 0 && !asked) writeBack();
  }, CALM_MS);

  return {
    committed(bytes) {
      restBytes += bytes;
      calm.refresh();
      if (asked || restBytes < BUSY_BYTES) return;
      if (performance.now() - since >= FLOOD_MS) ask();
      else if (restBytes >= FLOOD_BYTES) writeBack();
    },
    async stop() {
      clearTimeout(calm);
      await other?.terminate();
      runCheckpoint(connection, 'TRUNCATE');
    },
  };
}

function runCheckpoint(connection: Connection, mode: 'PASSIVE' | 'TRUNCATE'): void {
  try {
    connection.statement(`PRAGMA wal_checkpoint(${mode})`).get();
  } catch {
    // Nothing is lost: what is committed stays in the WAL, and the next checkpoint (or open) takes it from there.
  }
}
