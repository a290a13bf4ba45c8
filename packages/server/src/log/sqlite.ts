/**
 * The log in the store's SQLite database, so that an append and the rows it changes are one commit. An append is a
 * compare-and-set on the log's row (epoch, last seq) and one chunk row; see `sqlite-units.ts`.
 *
 * A read goes in two steps: the chain of segments, by the small connection of this thread, and the chunks, one
 * segment after the other, by the reader thread, which stops when it has enough bytes.
 */

import { AtollError } from '@atoll/protocol/errors';
import { packChunk } from '../store/chunk-bytes.ts';
import { sqlSteps } from '../store/sqlite.ts';
import type { SqliteDatabase } from '../store/sqlite-database.ts';
import type { Step } from '../store/store.ts';
import { framesUpTo } from './frames.ts';
import type { Checkpoint, Log, LogChunk, LogHead, NewChunk, NewLog } from './log.ts';
import { eraseLog } from './sqlite-erase.ts';

const CREATE = `INSERT INTO logs (id, tenant, session_id, parent_id, parent_seq, last_seq, line, epoch, created_at)
  VALUES (?, ?, ?, NULL, NULL, 0, 0, ?, ?)`;

// Nothing is inserted unless the parent is this tenant's (I12) and holds what is to be shared.
const FORK = `INSERT INTO logs (id, tenant, session_id, parent_id, parent_seq, last_seq, line, epoch, created_at, bytes)
  SELECT ?, tenant, ?, id, ?, ?, 0, ?, ?, ? FROM logs WHERE id = ? AND tenant = ? AND last_seq >= ?`;

const HEAD = 'SELECT last_seq AS lastSeq, line, epoch FROM logs WHERE id = ?';

/** A fork of a fork may share less than its parent shares: `upTo` only falls on the way up. */
const CHAIN = `WITH RECURSIVE chain (id, parentId, parentSeq, upTo) AS (
    SELECT id, parent_id, parent_seq, last_seq FROM logs WHERE id = ?
    UNION ALL
    SELECT logs.id, logs.parent_id, logs.parent_seq, min(upTo, parentSeq) FROM chain JOIN logs ON logs.id = parentId
  )
  SELECT id, coalesce(min(parentSeq, upTo), 0) AS after, upTo FROM chain`;

// The commit's own time, as that of every other chunk.
const FIRST_CHUNK = `INSERT INTO log_chunks (log_id, tenant, epoch, first_seq, last_seq, time, frames)
  VALUES (?, ?, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), ?)`;

const CHECKPOINT = 'INSERT INTO log_checkpoints (log_id, tenant, seq, state) VALUES (?, ?, ?, ?)';

const CHECKPOINT_BEFORE = `SELECT seq, state FROM log_checkpoints WHERE log_id = ? AND seq <= ?
  ORDER BY seq DESC LIMIT 1`;

/** The chunk that holds a seq, without its bytes. */
const CHUNK_AT = `SELECT first_seq AS firstSeq, last_seq AS lastSeq, time FROM log_chunks
  WHERE log_id = ? AND first_seq <= ? ORDER BY first_seq DESC LIMIT 1`;

/** From the chunk that holds the seq after `after`: a seek in the primary key, however long the log. */
const CHUNKS = `SELECT first_seq AS firstSeq, last_seq AS lastSeq, time, frames FROM log_chunks
  WHERE log_id = ?1 AND first_seq <= ?3 AND first_seq >= coalesce(
    (SELECT max(first_seq) FROM log_chunks WHERE log_id = ?1 AND first_seq <= ?2 + 1), 0)
  ORDER BY first_seq`;

/** One log's own part of a chain: it holds the events after `after`, and those up to `upTo` count. */
/** The events after `after`, up to `upTo`, that stand in the log `id`. */
type Segment = { id: string; after: number; upTo: number };
type Range = { logId: string; after: number; maxBytes: number };

export function createSqliteLog(database: SqliteDatabase): Log {
  return {
    create: createSteps,
    append: (chunk) => append(database, chunk),
    read: (range) => read(database, range),
    head: async (logId) => database.first<LogHead>({ sql: HEAD, parameters: [logId] }),
    seqAt: async (moment) => seqAt(database, moment),
    checkpoint: ({ logId, tenant, seq, state }) => ({
      query: { sql: CHECKPOINT, parameters: [logId, tenant, seq, state] },
    }),
    checkpointBefore: async (place) => checkpointBefore(database, place),
    compact: async (compaction) => (await import('./sqlite-compact.ts')).compactLog(database, compaction),
    whole: (place) => whole(database, place),
    erase: (logId, also) => eraseLog(database, logId, also),
    retire: async (logId, also) => (await import('./sqlite-retire.ts')).retireLog(database, logId, also),
    sweep: async () => (await import('./sqlite-retire.ts')).sweepLogs(database),
  };
}

function createSteps({ id, tenant, sessionId, epoch, createdAt, parent, first }: NewLog): Step[] {
  if (parent === undefined)
    return [{ query: { sql: CREATE, parameters: [id, tenant, sessionId, epoch, createdAt] } }];
  const { logId, seq } = parent;
  const { lastSeq = seq, frames } = first ?? {};
  const own = [id, sessionId, seq, lastSeq, epoch, createdAt, frames?.length ?? 0];
  const fork = {
    query: { sql: FORK, parameters: [...own, logId, tenant, seq] },
    mustChange: { code: 'not_found', detail: `There is no log ${logId} that reaches seq ${seq}.` },
  } as const;
  if (frames === undefined) return [fork];
  const chunk = [id, tenant, epoch, seq + 1, lastSeq, packChunk(frames)];
  return [fork, { query: { sql: FIRST_CHUNK, parameters: chunk } }];
}

async function append(database: SqliteDatabase, chunk: NewChunk): Promise<{ time: string }> {
  const { logId, tenant, epoch, firstSeq, lastSeq, frames, line = 0, before = [], also = [] } = chunk;
  return database.run({
    before: sqlSteps(before),
    append: { logId, tenant, epoch, firstSeq, lastSeq, line, frames },
    steps: sqlSteps(also),
  });
}

/** From the log itself to its oldest ancestor. */
function segmentsOf(database: SqliteDatabase, logId: string): Segment[] {
  const segments = database.rows<Segment>({ sql: CHAIN, parameters: [logId] });
  if (segments.length === 0) throw new AtollError('not_found', `There is no log ${logId}.`);
  return segments;
}

function seqAt(database: SqliteDatabase, { logId, time }: { logId: string; time: string }): number {
  for (const segment of segmentsOf(database, logId)) {
    const seq = lastWithin(database, segment, time);
    if (seq > segment.after) return seq;
  }
  return 0;
}

/** By halves, since times rise with the seqs; the end is looked at first, where most are asked for. */
function lastWithin(database: SqliteDatabase, { id, after, upTo }: Segment, time: string): number {
  let low = after;
  let high = upTo;
  let at = upTo;
  while (low < high) {
    const chunk = database.first<Omit<LogChunk, 'frames'>>({ sql: CHUNK_AT, parameters: [id, at] });
    if (chunk === undefined) break;
    if (chunk.time <= time) low = Math.min(chunk.lastSeq, upTo);
    else high = chunk.firstSeq - 1;
    at = Math.ceil((low + high) / 2);
  }
  return low;
}

function checkpointBefore(
  database: SqliteDatabase,
  { logId, seq }: { logId: string; seq: number },
): Checkpoint | undefined {
  for (const { id, upTo } of segmentsOf(database, logId)) {
    const parameters = [id, Math.min(upTo, seq)];
    const found = database.first<Checkpoint>({ sql: CHECKPOINT_BEFORE, parameters });
    if (found !== undefined) return found;
  }
  return undefined;
}

async function whole(
  database: SqliteDatabase,
  { logId, seq }: { logId: string; seq: number },
): Promise<Step> {
  const { wholeAt } = await import('./sqlite-compact.ts');
  const own = segmentsOf(database, logId).find(({ after, upTo }) => seq > after && seq <= upTo);
  return wholeAt(database, { logId: own?.id ?? logId, seq });
}

async function read(database: SqliteDatabase, { logId, after, maxBytes }: Range): Promise<LogChunk[]> {
  const chunks: LogChunk[] = [];
  let wanted = maxBytes;
  for (const segment of segmentsOf(database, logId).reverse()) {
    if (wanted <= 0) break;
    if (segment.upTo <= Math.max(after, segment.after)) continue;
    for (const chunk of await readSegment(database, segment, after, wanted)) {
      chunks.push(chunk);
      wanted -= chunk.frames.length;
    }
  }
  return chunks;
}

async function readSegment(
  database: SqliteDatabase,
  { id, upTo }: Segment,
  after: number,
  untilBytes: number,
): Promise<LogChunk[]> {
  const chunks = await database.all<LogChunk>({ sql: CHUNKS, parameters: [id, after, upTo], untilBytes });
  const last = chunks.at(-1);
  // A fork may share only the first part of its parent's last chunk.
  if (last !== undefined && last.lastSeq > upTo)
    chunks[chunks.length - 1] = { ...last, lastSeq: upTo, frames: framesUpTo(last, upTo) };
  return chunks;
}
