import * as v from 'valibot';
import { cause, count, id, seq, time } from './common.ts';

/** The files of a session, kept as they were after one of its events. */
export const snapshot = v.object({
  id: id('snapshot'),
  seq,
  status: v.picklist(['complete', 'failed']),
  ...cause,
  files: count,
  sizeBytes: count,
  /** Of it, what no earlier snapshot held. */
  storedBytes: count,
  createdAt: time,
});

/** The files of a sandbox without a session, kept as a job found them. */
export const sandboxSnapshot = v.object({
  id: id('snapshot'),
  sandboxId: id('sandbox'),
  files: count,
  sizeBytes: count,
  /** Of it, what no earlier snapshot held. */
  storedBytes: count,
  /** Sockets, FIFOs, devices and what could not be read: left out. */
  skipped: count,
  createdAt: time,
});
export type SandboxSnapshot = v.InferOutput<typeof sandboxSnapshot>;
