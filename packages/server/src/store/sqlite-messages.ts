/** What crosses between the threads of the SQLite store. Types only: the workers' module graph must stay tiny. */

import type { ErrorCode } from '@atoll/protocol/errors';

export type SqlValue = null | number | bigint | string | Uint8Array;
export type SqlRow = Record<string, SqlValue>;
export type SqlStatement = { sql: string; parameters: readonly SqlValue[] };

export type WriteStep = SqlStatement & { mustChange?: { code: ErrorCode; detail?: string } };

/** Appending a chunk is the hot path, so it has a compact form instead of statements. */
export type ChunkAppend<Frames> = {
  logId: string;
  tenant: string;
  epoch: number;
  firstSeq: number;
  lastSeq: number;
  line: number;
  frames: Frames;
};

/** All or nothing, in order: what comes before the append, it, the steps. Frames are in pieces until they cross to the writer. */
export type Unit<Frames = readonly Uint8Array[]> = {
  before?: readonly WriteStep[];
  append?: ChunkAppend<Frames>;
  steps: readonly WriteStep[];
};

export type Outcome =
  | { kind: 'committed'; time: string }
  | { kind: 'refused'; code: ErrorCode; detail: string | undefined };

export type WriterRequest = { kind: 'unit'; unit: Unit<Uint8Array> } | { kind: 'close' };

/** `outcomes` answer the oldest unanswered units, in the order in which these were sent. */
export type WriterReply =
  | { kind: 'open' }
  | { kind: 'not_open'; detail: string }
  | { kind: 'outcomes'; outcomes: Outcome[] };

/** With `untilBytes`, rows are chunks: their `frames` are unpacked, and they end after the one that brings the sum to it. */
export type SqlQuery = SqlStatement & { untilBytes?: number };

export type ReaderRequest = { kind: 'query'; id: number; query: SqlQuery } | { kind: 'close' };
export type ReaderReply =
  | { kind: 'ready' }
  | { kind: 'rows'; id: number; rows: SqlRow[] }
  | { kind: 'failed'; id: number; detail: string };
