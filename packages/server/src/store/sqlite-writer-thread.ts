/**
 * The event loop's end of the writer thread: sends units, settles them in order.
 *
 * Frames are copied once, into memory that both threads see, since the caller goes on using its own.
 */

import type { Worker } from 'node:worker_threads';
import { AtollError } from '@atoll/protocol/errors';
import { concatBytes } from '@atoll/protocol/lines';
import { createByteRing } from './byte-ring.ts';
import type { Outcome, SqlValue, Unit, WriterReply, WriterRequest, WriteStep } from './sqlite-messages.ts';
import { startThread } from './sqlite-thread.ts';

/** More than one busy log may have waiting; what does not fit is memory of its own. */
const RING_BYTES = 4 * 1024 * 1024;

type Pending = {
  inRing: boolean;
  resolve(committed: { time: string }): void;
  reject(error: AtollError): void;
};

export type WriterThread = {
  run(unit: Unit): Promise<{ time: string }>;
  /** After everything sent before it. */
  close(): Promise<void>;
};

export async function startWriterThread(path: string): Promise<WriterThread> {
  const worker = startThread('./sqlite-writer.ts', path);
  await opened(worker);
  const pending: Pending[] = [];
  const ring = createByteRing(RING_BYTES);
  let lost: AtollError | undefined;
  let closed: (() => void) | undefined;

  worker.on('message', (reply: WriterReply) => {
    if (reply.kind !== 'outcomes') return;
    const settled = pending.splice(0, reply.outcomes.length);
    for (const { inRing } of settled) if (inRing) ring.release();
    settle(settled, reply.outcomes);
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
        const shared = unit.append && ring.put(unit.append.frames);
        const buffers: ArrayBuffer[] = [];
        worker.postMessage(
          { kind: 'unit', unit: detachable(unit, shared, buffers) } satisfies WriterRequest,
          buffers,
        );
        pending.push({ inRing: shared !== undefined, resolve, reject });
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

/** The unit with its bytes where the writer may keep them (see sqlite-database.ts): what is not shared moves. */
function detachable(unit: Unit, shared: Uint8Array | undefined, buffers: ArrayBuffer[]): Unit<Uint8Array> {
  const own = (pieces: readonly Uint8Array[]): Uint8Array => {
    const copy = concatBytes(pieces);
    buffers.push(copy.buffer);
    return copy;
  };
  const ownValue = (value: SqlValue) => (value instanceof Uint8Array ? own([value]) : value);
  const ownSteps = (all: readonly WriteStep[]) =>
    all.map((step) => ({ ...step, parameters: step.parameters.map(ownValue) }));
  const { before = [], append } = unit;
  return {
    before: ownSteps(before),
    ...(append && { append: { ...append, frames: shared ?? own(append.frames) } }),
    steps: ownSteps(unit.steps),
  };
}
