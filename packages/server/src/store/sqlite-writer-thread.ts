/** The event loop's end of the writer thread: sends units, settles them in order. */

import type { Worker } from 'node:worker_threads';
import { AtollError } from '@atoll/protocol/errors';
import type { Outcome, SqlValue, Unit, WriterReply, WriterRequest } from './sqlite-messages.ts';
import { startThread } from './sqlite-thread.ts';

type Pending = { resolve(committed: { time: string }): void; reject(error: AtollError): void };

export type WriterThread = {
  run(unit: Unit): Promise<{ time: string }>;
  /** After everything sent before it. */
  close(): Promise<void>;
};

export async function startWriterThread(path: string): Promise<WriterThread> {
  const worker = startThread('./sqlite-writer.ts', path);
  await opened(worker);
  const pending: Pending[] = [];
  let lost: AtollError | undefined;
  let closed: (() => void) | undefined;

  worker.on('message', (reply: WriterReply) => {
    if (reply.kind === 'outcomes') settle(pending.splice(0, reply.outcomes.length), reply.outcomes);
  });
  worker.on('error', (cause) => {
    lost = new AtollError('storage_failed', 'The thread that writes the database has failed.', { cause });
  });
  worker.on('exit', () => {
    lost ??= new AtollError('storage_failed', 'The thread that writes the database has ended.');
    for (const { reject } of pending.splice(0)) reject(lost);
    closed?.();
  });

  return {
    run(unit) {
      if (lost !== undefined) return Promise.reject(lost);
      return new Promise((resolve, reject) => {
        const buffers: ArrayBuffer[] = [];
        const request: WriterRequest = { kind: 'unit', unit: detachable(unit, buffers) };
        worker.postMessage(request, buffers);
        pending.push({ resolve, reject });
      });
    },
    close() {
      return new Promise((resolve) => {
        if (lost !== undefined) return resolve();
        closed = resolve;
        worker.postMessage({ kind: 'close' } satisfies WriterRequest);
      });
    },
  };
}

/** Resolves when the schema is there and commits can come; the thread is gone when it rejects. */
function opened(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (detail: string, cause?: unknown) =>
      reject(new AtollError('storage_failed', `The database could not be opened: ${detail}.`, { cause }));
    const failed = (cause: unknown) => refuse(cause instanceof Error ? cause.message : String(cause), cause);
    worker.once('error', failed);
    worker.once('message', (reply: WriterReply) => {
      worker.off('error', failed);
      if (reply.kind === 'not_open') refuse(reply.detail);
      else resolve();
    });
  });
}

function settle(pending: readonly Pending[], outcomes: readonly Outcome[]): void {
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.kind === 'committed') pending[index]?.resolve({ time: outcome.time });
    else pending[index]?.reject(new AtollError(outcome.code, outcome.detail));
  }
}

/** The unit with its bytes in buffers of their own, which the caller may go on without (see sqlite-database.ts). */
function detachable(unit: Unit, buffers: ArrayBuffer[]): Unit {
  const own = (bytes: Uint8Array): Uint8Array => {
    const copy = new Uint8Array(bytes);
    buffers.push(copy.buffer);
    return copy;
  };
  const ownValue = (value: SqlValue) => (value instanceof Uint8Array ? own(value) : value);
  const steps = unit.steps.map((step) => ({ ...step, parameters: step.parameters.map(ownValue) }));
  return unit.append === undefined
    ? { steps }
    : { append: { ...unit.append, frames: own(unit.append.frames) }, steps };
}
