/** The event loop's end of the reader thread. */

import type { Worker } from 'node:worker_threads';
import { AtollError } from '@atoll/protocol/errors';
import type { ReaderReply, ReaderRequest, SqlQuery, SqlRow } from './sqlite-messages.ts';
import { startThread } from './sqlite-thread.ts';

export type ReaderThread = {
  /** Starts it unless it runs or will soon. */
  start(): void;
  isReady(): boolean;
  all(query: SqlQuery): Promise<SqlRow[]>;
  close(): Promise<void>;
};

type Thread =
  | { kind: 'not_started' }
  | { kind: 'starting'; worker: Worker }
  | { kind: 'ready'; worker: Worker }
  | { kind: 'closed' };

type Pending = { resolve(rows: SqlRow[]): void; reject(error: AtollError): void };

/** Starting is lazy, since a server that starts has better things to do with its second core. */
export function createReaderThread(path: string): ReaderThread {
  const pending = new Map<number, Pending>();
  let thread: Thread = { kind: 'not_started' };
  let lastId = 0;

  const start = () => {
    const worker = startThread('./sqlite-reader.ts', path);
    thread = { kind: 'starting', worker };
    worker.on('message', (reply: ReaderReply) => {
      if (reply.kind !== 'ready') settle(pending, reply);
      else if (thread.kind === 'starting') thread = { kind: 'ready', worker };
    });
    // Whatever ended it, the next read may start another one.
    const ended = (cause?: unknown) => {
      if (thread.kind !== 'closed') thread = { kind: 'not_started' };
      rejectAll(pending, cause);
    };
    worker.on('error', ended);
    worker.on('exit', () => ended());
  };

  return {
    start() {
      if (thread.kind === 'not_started') start();
    },
    isReady: () => thread.kind === 'ready',
    all(query) {
      return new Promise((resolve, reject) => {
        if (thread.kind !== 'ready') return reject(lostError());
        const id = ++lastId;
        pending.set(id, { resolve, reject });
        thread.worker.postMessage({ kind: 'query', id, query } satisfies ReaderRequest);
      });
    },
    close() {
      const worker = thread.kind === 'starting' || thread.kind === 'ready' ? thread.worker : undefined;
      thread = { kind: 'closed' };
      return worker === undefined ? Promise.resolve() : closeThread(worker);
    },
  };
}

/** The request to end waits behind the queries sent before it. */
function closeThread(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    worker.once('exit', () => resolve());
    worker.postMessage({ kind: 'close' } satisfies ReaderRequest);
  });
}

function settle(pending: Map<number, Pending>, reply: Exclude<ReaderReply, { kind: 'ready' }>): void {
  const waiting = pending.get(reply.id);
  pending.delete(reply.id);
  if (reply.kind === 'rows') waiting?.resolve(reply.rows);
  else waiting?.reject(new AtollError('storage_failed', `The store could not read: ${reply.detail}.`));
}

function rejectAll(pending: Map<number, Pending>, cause?: unknown): void {
  for (const { reject } of pending.values()) reject(lostError(cause));
  pending.clear();
}

function lostError(cause?: unknown): AtollError {
  return new AtollError('storage_failed', 'The thread that reads the database has ended.', { cause });
}
