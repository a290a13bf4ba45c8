/**
 * The log in the store's SQLite database, so that an append and the rows it changes are one commit. An append is a
 * compare-and-set on the log's row (epoch, last seq) and one chunk row; see `sqlite-units.ts`.
 *
 * A read goes in two steps: the chain of segments, by the small connection of this thread, and the chunks, one
 * segment after the other, by the reader thread, which stops when it has enough bytes.
 */

import { AtollError } from '@atoll/protocol/errors';
import { sqlSteps } from '../store/sqlite.ts';
import type { SqliteDatabase } from '../store/sqlite-database.ts';
import type { Step } from '../store/store.ts';
import { framesUpTo } from './frames.ts';
import type { Log, LogChunk, LogHead, NewChunk, NewLog } from './log.ts';

const CREATE = `INSERT INTO logs (id, tenant, session_id, parent_id, parent_seq, last_seq, line, epoch, created_at)
  VALUES (?, ?, ?, NULL, NULL, 0, 0, ?, ?)`;

// Nothing is inserted unless the parent is this tenant's (I12) and holds what is to be shared.
const FORK = `INSERT INTO logs (id, tenant, session_id, parent_id, parent_seq, last_seq, line, epoch, created_at)
  SELECT ?, tenant, ?, id, ?, ?, 0, ?, ? FROM logs WHERE id = ? AND tenant = ? AND last_seq >= ?`;

const HEAD = 'SELECT last_seq AS lastSeq, line, epoch FROM logs WHERE id = ?';

/** A fork of a fork may share less than its parent shares: `upTo` only falls on the way up. */
const CHAIN = `WITH RECURSIVE chain (id, parentId, parentSeq, upTo) AS (
    SELECT id, parent_id, parent_seq, last_seq FROM logs WHERE id = ?
    UNION ALL
    SELECT logs.id, logs.parent_id, logs.parent_seq, min(upTo, parentSeq) FROM chain JOIN logs ON logs.id = parentId
  )
  SELECT id, coalesce(min(parentSeq, upTo), 0) AS after, upTo FROM chain`;

/** From the chunk that holds the seq after `after`: a seek in the primary key, however long the log. */
const CHUNKS = `SELECT first_seq AS firstSeq, last_seq AS lastSeq, time, frames FROM log_chunks
  WHERE log_id = ?1 AND first_seq <= ?3 AND first_seq >= coalesce(
    (SELECT max(first_seq) FROM log_chunks WHERE log_id = ?1 AND first_seq <= ?2 + 1), 0)
  ORDER BY first_seq`;

/** One log's own part of a chain: it holds the events after `after`, and those up to `upTo` count. */
type Segment = { id: string; after: number; upTo: number };
type Range = { logId: string; after: number; maxBytes: number };

export function createSqliteLog(database: SqliteDatabase): Log {
  return {
    create: (log) => createStep(log),
    append: (chunk) => append(database, chunk),
    read: (range) => read(database, range),
    head: async (logId) => database.first<LogHead>({ sql: HEAD, parameters: [logId] }),
  };
}

function createStep({ id, tenant, sessionId, epoch, createdAt, parent }: NewLog): Step {
  if (parent === undefined)
    return { query: { sql: CREATE, parameters: [id, tenant, sessionId, epoch, createdAt] } };
  const { logId, seq } = parent;
  return {
    query: { sql: FORK, parameters: [id, sessionId, seq, seq, epoch, createdAt, logId, tenant, seq] },
    mustChange: { code: 'not_found', detail: `There is no log ${logId} that reaches seq ${seq}.` },
  };
}

async function append(database: SqliteDatabase, chunk: NewChunk): Promise<{ time: string }> {
  const { logId, tenant, epoch, firstSeq, lastSeq, frames, line = 0, also = [] } = chunk;
  return database.run({
    append: { logId, tenant, epoch, firstSeq, lastSeq, line, frames },
    steps: sqlSteps(also),
  });
}

async function read(database: SqliteDatabase, { logId, after, maxBytes }: Range): Promise<LogChunk[]> {
  const segments = database.rows<Segment>({ sql: CHAIN, parameters: [logId] });
  if (segments.length === 0) throw new AtollError('not_found', `There is no log ${logId}.`);
  const chunks: LogChunk[] = [];
  let wanted = maxBytes;
  // The chain leads from the log to its oldest ancestor; events are read the other way.
  for (const segment of segments.reverse()) {
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
