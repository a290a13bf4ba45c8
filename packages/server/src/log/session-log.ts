/**
 * The live end of one session's log.
 *
 * Stages of an event: numbered and framed when it is appended → waits while the previous commit is under way → one
 * chunk per commit (an idle log commits at once, a busy one batches, and sends a full chunk, or the end of a turn, ahead
 * so that the writer need not wait for us) → durable → published to readers (I1).
 *
 * Every reader is a cursor over the log: what it has not seen comes from the tail in memory when it keeps up, from
 * disk when it does not. So replay, reconnect (I2) and slow readers (I9) are one path, and none slows a turn.
 */
import { AtollError } from '@atoll/protocol/errors';
import { concatBytes } from '@atoll/protocol/lines';
import type { Messages } from '@atoll/protocol/runner-link';
import type { Step } from '../store/store.ts';
import { frameEvent, frameMessages, framesAfter } from './frames.ts';
import type { Log, LogChunk, LogHead } from './log.ts';
import { createTail, joinSmall, type TailChunk } from './tail.ts';

/** A commit takes at most about this much, so that replies to other sessions in the same commit stay quick. */
const CHUNK_BYTES = 512 * 1024;
/** Two, so that one is ready when the other is done; they settle in order. */
const MAX_COMMITTING = 2;
/** `ready` turns false when more than this waits for the disk. */
const HIGH_WATER_BYTES = 2 * 1024 * 1024;
const READ_BYTES = 256 * 1024;
/** A commit of this size may stay in memory with nobody there to read it; smaller pieces are sent as one. */
const SMALL_BYTES = 16 * 1024;

export type NewEvent = { event: string; data: unknown };

export type SessionLog = {
  /** The last seq given out; durable when the latest append resolved. */
  readonly lastSeq: number;
  /** The last seq on disk: what readers can see. */
  readonly durableSeq: number;
  /** The last of the runner's lines, of this assignment, that stands in here. */
  readonly line: number;
  /**
   * Appends events, and rows that change with them, as one commit; appends made in the same tick share it. Seqs are
   * given out at once, in call order; resolves when durable. After a failed append the log takes no more: reload
   * the session.
   */
  append(events: readonly NewEvent[], rows?: RowChanges): Promise<void>;
  /** Appends a run of messages as the bytes the bridge wrote (I3); `line` is the runner's number of the last. */
  appendMessages(batch: { line: number; messages: Messages }, rows?: RowChanges): Promise<void>;
  /** Resolves at once, or when the disk has caught up: what feeds a log awaits this between batches (I9). */
  ready(): Promise<void>;
  /**
   * Frames after `after` in order: what is on disk, then live, each seq once. Ends when the signal aborts, or after
   * `until()` once that is a seq; rejects when the log failed.
   */
  follow(options: FollowOptions): AsyncGenerator<FollowedFrames>;
  /** A piece of what is on disk: see Log.read. */
  read(after: number): Promise<LogChunk[]>;
  /** Resolves when the condition holds or the signal aborts; looks again at every commit. Rejects when the log failed. */
  until(condition: () => boolean, signal: AbortSignal): Promise<void>;
  /** Takes no more; readers get `reason`. */
  close(reason: Error): void;
  readonly readers: number;
};

/**
 * `before` the events, `also` after them always run; of the `latest` steps in one commit only the last does (each says all
 * of its row anew). `line`: the runner's number of what led to the events.
 */
export type RowChanges = { before?: readonly Step[]; also?: readonly Step[]; latest?: Step; line?: number };

export type FollowOptions = { after: number; signal: AbortSignal; until?: () => number | undefined };

export type FollowedFrames = {
  frames: Uint8Array;
  /** It is known that every event in it is a message of the executor. */
  onlyMessages: boolean;
};

type Pending = TailChunk & {
  rows: RowChanges;
  settle: Settle;
};
type Settle = { resolve: () => void; reject: (error: Error) => void };

export function createSessionLog(options: {
  log: Log;
  logId: string;
  tenant: string;
  epoch: () => number;
  head: LogHead;
}): SessionLog {
  const { log, logId, tenant, epoch } = options;
  const tail = createTail();
  let lastSeq = options.head.lastSeq;
  let durableSeq = lastSeq;
  let line = options.head.line;
  let lineEpoch = options.head.epoch;
  let pending: Pending[] = [];
  /** Of them, those that no commit has taken yet. */
  let pendingBytes = 0;
  let pendingRecords = 0;
  let waitingBytes = 0;
  let committing = 0;
  let scheduled = false;
  let failed: Error | undefined;
  /** Of each reader, the last seq that it took. */
  const readers = new Set<{ cursor: number }>();
  let drained = Promise.withResolvers<void>();
  let changed = Promise.withResolvers<void>();

  function wake(): void {
    changed.resolve();
    changed = Promise.withResolvers<void>();
  }

  /** A listener of its own each time: several may wait with one signal. Returns what takes it away. */
  function wakeOnAbort(signal: AbortSignal): () => void {
    const onAbort = () => wake();
    signal.addEventListener('abort', onAbort, { once: true });
    return () => signal.removeEventListener('abort', onAbort);
  }

  function enqueue(
    frames: Uint8Array,
    { count, onlyMessages }: { count: number; onlyMessages: boolean },
    rows: RowChanges,
  ): Promise<void> {
    if (failed) return Promise.reject(failed);
    if (rows.line !== undefined) line = rows.line;
    const firstSeq = lastSeq + 1;
    lastSeq += count;
    waitingBytes += frames.length;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    pending.push({ firstSeq, lastSeq, frames, onlyMessages, rows, settle: { resolve, reject } });
    pendingBytes += frames.length;
    if (!onlyMessages) pendingRecords++;
    if (!scheduled && mayCommit()) {
      scheduled = true;
      // Not at once: what else is appended in this tick belongs to the same commit.
      setImmediate(() => {
        scheduled = false;
        void commit();
      });
    }
    return promise;
  }

  /** Line numbers begin anew with every assignment. */
  function lineNow(): number {
    if (epoch() !== lineEpoch) line = 0;
    lineEpoch = epoch();
    return line;
  }

  function mayCommit(): boolean {
    if (pending.length === 0 || failed) return false;
    if (committing === 0) return true;
    const urgent = pendingBytes >= CHUNK_BYTES || pendingRecords > 0;
    return committing < MAX_COMMITTING && urgent;
  }

  /** Commits what waits, one chunk after the other, until nothing does. Never rejects. */
  async function commit(): Promise<void> {
    while (mayCommit()) {
      committing++;
      const group = takeGroup();
      try {
        await write(group);
      } catch (error) {
        fail(group, error);
      }
      committing--;
    }
  }

  function takeGroup(): Pending[] {
    let bytes = 0;
    const end = pending.findIndex((item, i) => {
      bytes += item.frames.length;
      return i > 0 && bytes > CHUNK_BYTES;
    });
    const group = pending.splice(0, end === -1 ? pending.length : end);
    for (const { frames, onlyMessages } of group) {
      pendingBytes -= frames.length;
      if (!onlyMessages) pendingRecords--;
    }
    return group;
  }

  async function write(group: Pending[]): Promise<void> {
    const bytes = group.reduce((sum, { frames }) => sum + frames.length, 0);
    const firstSeq = group[0]?.firstSeq ?? durableSeq + 1;
    const groupLast = group.at(-1)?.lastSeq ?? durableSeq;
    const groupLine = group.findLast((item) => item.rows.line !== undefined)?.rows.line;
    const latest = group.findLast((item) => item.rows.latest !== undefined)?.rows.latest;
    await log.append({
      logId,
      tenant,
      epoch: epoch(),
      firstSeq,
      lastSeq: groupLast,
      frames: group.map(({ frames }) => frames),
      ...(groupLine === undefined ? {} : { line: groupLine }),
      before: group.flatMap((item) => item.rows.before ?? []),
      also: [...group.flatMap((item) => item.rows.also ?? []), ...(latest ? [latest] : [])],
    });
    if (readers.size === 0) tail.clear();
    else tail.forget(Math.min(...[...readers].map(({ cursor }) => cursor)));
    // Whoever sent a message reads from its input on, and comes a moment after the commit.
    if (readers.size > 0 || bytes < SMALL_BYTES)
      for (const chunk of joinSmall(group, SMALL_BYTES)) tail.push(chunk);
    durableSeq = groupLast;
    waitingBytes -= bytes;
    for (const item of group) item.settle.resolve();
    if (waitingBytes < HIGH_WATER_BYTES) {
      drained.resolve();
      drained = Promise.withResolvers<void>();
    }
    wake();
  }

  function fail(group: Pending[], error: unknown): void {
    failed ??= error instanceof Error ? error : new AtollError('storage_failed', undefined, { cause: error });
    for (const item of [...group, ...pending]) item.settle.reject(failed);
    pending = [];
    pendingBytes = 0;
    pendingRecords = 0;
    drained.resolve();
    wake();
  }

  /** The next frames after `cursor` that are durable: from memory, else from disk. */
  async function next(cursor: number): Promise<(FollowedFrames & { lastSeq: number }) | undefined> {
    const held = tail.after(cursor);
    if (held) return held;
    const chunks = await log.read({ logId, after: cursor, maxBytes: READ_BYTES });
    const last = chunks.at(-1);
    if (!last) return undefined;
    const frames = chunks.length === 1 ? last.frames : concatBytes(chunks.map((chunk) => chunk.frames));
    return { lastSeq: last.lastSeq, frames: framesAfter({ frames }, cursor), onlyMessages: false };
  }

  async function* follow({ after, signal, until }: FollowOptions): AsyncGenerator<FollowedFrames> {
    const reader = { cursor: after };
    const unhear = wakeOnAbort(signal);
    readers.add(reader);
    try {
      while (!signal.aborted && !(reader.cursor >= (until?.() ?? Number.POSITIVE_INFINITY))) {
        const seen = changed.promise;
        if (reader.cursor >= durableSeq) {
          if (failed) throw failed;
          await seen;
          continue;
        }
        const found = await next(reader.cursor);
        if (!found) throw failed ?? new AtollError('internal', `the log has a gap after ${reader.cursor}`);
        reader.cursor = found.lastSeq;
        yield found;
      }
    } finally {
      unhear();
      readers.delete(reader);
      if (readers.size === 0) tail.clear();
    }
  }

  async function until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    const unhear = wakeOnAbort(signal);
    try {
      while (!condition() && !signal.aborted) {
        if (failed) throw failed;
        await changed.promise;
      }
    } finally {
      unhear();
    }
  }

  return {
    get lastSeq() {
      return lastSeq;
    },
    get durableSeq() {
      return durableSeq;
    },
    get line() {
      return lineNow();
    },
    get readers() {
      return readers.size;
    },
    append(events, rows = {}) {
      const frames = events.map((event, i) =>
        frameEvent({ seq: lastSeq + 1 + i, event: event.event, data: JSON.stringify(event.data) }),
      );
      lineNow();
      const all = frames.length === 1 && frames[0] ? frames[0] : concatBytes(frames);
      return enqueue(all, { count: events.length, onlyMessages: false }, rows);
    },
    appendMessages({ line: last, messages }, rows = {}) {
      const count = messages.spans.length / 2;
      if (last - count < lineNow())
        return Promise.reject(new AtollError('internal', `line ${last - count + 1} came after line ${line}`));
      const frames = frameMessages(lastSeq + 1, messages);
      return enqueue(frames, { count, onlyMessages: true }, { ...rows, line: last });
    },
    ready: () => (waitingBytes < HIGH_WATER_BYTES ? Promise.resolve() : drained.promise),
    follow,
    read: (after) => log.read({ logId, after, maxBytes: READ_BYTES }),
    until,
    close: (reason) => fail([], reason),
  };
}
