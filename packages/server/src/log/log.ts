import type { Step } from '../store/store.ts';
import type { FramedEvent } from './frames.ts';

/**
 * Events on disk: an append-only chain of chunks per session. A chunk is the SSE frames of a run of events, made
 * once when they are appended (I3): what is stored is what every reader is sent.
 * Implementations: `sqlite.ts`, in the same database as the store, so that an append and the rows it changes
 * are one commit; one contract suite, `log.contract.ts`.
 */
export type Log = {
  /**
   * The steps that make an empty log, or a fork that shares `parent`'s events up to `seq` and goes on with `first`; for
   * one store commit, which fails with `not_found` when the parent does not reach that seq.
   */
  create(log: NewLog): Step[];
  /**
   * Appends one chunk, and runs `before` it and `also` after it in the same commit. Resolves when durable (I1), with the commit's time.
   * Rejects with `stale_epoch` when the log has seen a newer epoch, with `storage_failed` otherwise; then nothing
   * of it is there.
   */
  append(chunk: NewChunk): Promise<{ time: string }>;
  /**
   * Chunks in order that hold events after `after`, about `maxBytes` of them (at least one, if there is any);
   * empty at the end. The first one may begin before `after + 1`: cut it with `framesAfter`. Crosses into parents.
   */
  read(range: { logId: string; after: number; maxBytes: number }): Promise<LogChunk[]>;
  head(logId: string): Promise<LogHead | undefined>;
  /** The last seq that was committed at that time (ISO 8601, UTC, milliseconds) or before; 0: none was. */
  seqAt(moment: { logId: string; time: string }): Promise<number>;
  /** The step that keeps what the events up to `seq` come to, for the commit that appends the last of them. */
  checkpoint(checkpoint: Checkpoint & { logId: string; tenant: string }): Step;
  /** The latest checkpoint that is not after `seq`. Crosses into parents. */
  checkpointBefore(place: { logId: string; seq: number }): Promise<Checkpoint | undefined>;
  /**
   * Takes events out and puts `compacted {from, to}` in place of each run of them (I2), in a bounded step. Resolves with
   * where the next one begins, undefined when there is nothing more, and how many events this one took. Rejects with
   * `illegal_transition`, nothing changed, when the log was forked meanwhile, or was erased.
   */
  compact(compaction: Compaction): Promise<{ next: number | undefined; events: number }>;
  /**
   * The step for the commit of a fork at `seq`; it fails with `illegal_transition` when the log was compacted meanwhile.
   * Rejects with `seq_compacted` where that event was taken out with its neighbours.
   */
  whole(place: { logId: string; seq: number }): Promise<Step>;
  /**
   * Erases what no fork shares, and with the last fork the rest; `also` runs before that, in the same commit. A log that is erased
   * cannot be appended to.
   */
  erase(logId: string, also: readonly Step[]): Promise<void>;
  /** As `erase`, in bounded steps: what of a long log is not gone when this resolves goes by `sweep`. */
  retire(logId: string, also: readonly Step[]): Promise<void>;
  /** A bounded step of that. False when there is nothing to do. */
  sweep(): Promise<boolean>;
};

export type NewLog = {
  id: string;
  tenant: string;
  sessionId: string;
  epoch: number;
  createdAt: string;
  parent?: { logId: string; seq: number };
  /** Of a fork: its own events up to `lastSeq`. */
  first?: { lastSeq: number; frames: Uint8Array };
};

/** Of the log's own events later than `after`, up to `upTo`, those that `takes`. */
export type Compaction = {
  logId: string;
  after: number;
  upTo: number;
  takes: (event: FramedEvent) => boolean;
};

/** `state` is text that only its writer reads. */
export type Checkpoint = { seq: number; state: string };

export type NewChunk = {
  logId: string;
  tenant: string;
  epoch: number;
  /** Must be the log's last seq + 1. */
  firstSeq: number;
  lastSeq: number;
  /** In pieces, to be put together where the bytes are copied anyway. */
  frames: readonly Uint8Array[];
  /** The highest runner line in here, when it came from a runner. */
  line?: number;
  /** Such as what makes the log. */
  before?: readonly Step[];
  also?: readonly Step[];
};

export type LogChunk = { firstSeq: number; lastSeq: number; time: string; frames: Uint8Array };
export type LogHead = { lastSeq: number; line: number; epoch: number };
