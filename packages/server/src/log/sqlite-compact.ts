/**
 * Compaction of a log in the SQLite database, a piece of it at a time: read, made anew on this thread, and put in place as
 * one unit, which is refused when a fork was made in between. So it can be broken off after any piece.
 */
import { AtollError } from '@atoll/protocol/errors';
import { packChunk } from '../store/chunk-bytes.ts';
import { sqlSteps } from '../store/sqlite.ts';
import type { SqliteDatabase } from '../store/sqlite-database.ts';
import type { Step } from '../store/store.ts';
import { type Chunk, compactChunks } from './compaction.ts';
import { eventsOf } from './frames.ts';
import type { Compaction, Log } from './log.ts';

/** What one piece reads: few enough to be written back in a moment. */
const PIECE_BYTES = 64 * 1024;

const CHUNKS = `SELECT epoch, first_seq AS firstSeq, last_seq AS lastSeq, time, frames FROM log_chunks
  WHERE log_id = ?1 AND first_seq <= ?3 AND last_seq > ?2 AND first_seq >= coalesce(
    (SELECT max(first_seq) FROM log_chunks WHERE log_id = ?1 AND first_seq <= ?2 + 1), 0)
  ORDER BY first_seq`;

/** The last seqs of it that its forks share, and theirs, among from..to; null: none. */
const BREAKS = `WITH RECURSIVE fork (id, seq) AS (
    SELECT id, parent_seq FROM logs WHERE parent_id = ?1
    UNION ALL
    SELECT logs.id, min(logs.parent_seq, fork.seq) FROM fork JOIN logs ON logs.parent_id = fork.id
  )
  SELECT group_concat(seq) AS seqs FROM
    (SELECT DISTINCT seq FROM fork WHERE seq BETWEEN ?2 AND ?3 ORDER BY seq)`;
const CHANGE = `UPDATE logs SET compactions = compactions + 1
  WHERE id = ?1 AND erased = 0 AND (${BREAKS}) IS ?4`;
const DELETE = 'DELETE FROM log_chunks WHERE log_id = ? AND first_seq BETWEEN ? AND ?';
const INSERT = `INSERT INTO log_chunks (log_id, tenant, epoch, first_seq, last_seq, time, frames)
  SELECT id, tenant, ?, ?, ?, ?, ? FROM logs WHERE id = ?`;

const COMPACTIONS = 'SELECT compactions FROM logs WHERE id = ?';
const UNCHANGED = 'UPDATE logs SET compactions = compactions WHERE id = ? AND compactions = ?';

export async function compactLog(
  database: SqliteDatabase,
  { logId, after, upTo, takes }: Compaction,
): ReturnType<Log['compact']> {
  const before = await database.all<Chunk>({
    sql: CHUNKS,
    parameters: [logId, after, upTo],
    untilBytes: PIECE_BYTES,
  });
  const first = before[0]?.firstSeq;
  const last = before.at(-1)?.lastSeq;
  if (first === undefined || last === undefined) return { next: undefined, events: 0 };
  const seqs = database.first<{ seqs: string | null }>({
    sql: BREAKS,
    parameters: [logId, first, last],
  })?.seqs;
  const breaks = seqs?.split(',').map(Number) ?? [];
  const { chunks, events } = compactChunks(before, { after, upTo, breaks, takes });
  if (events > 0) {
    const change = { sql: CHANGE, parameters: [logId, first, last, seqs ?? null] };
    const mustChange = { code: 'illegal_transition', detail: 'The log was forked or erased.' } as const;
    const remove = { sql: DELETE, parameters: [logId, first, last] };
    await database.run({
      steps: sqlSteps([
        { query: change, mustChange },
        { query: remove },
        ...chunks.map((chunk) => insert(logId, chunk)),
      ]),
    });
  }
  return { next: last >= upTo ? undefined : placeAfter(chunks, last), events };
}

function insert(logId: string, { epoch, firstSeq, lastSeq, time, frames }: Chunk): Step {
  const parameters = [epoch, firstSeq, lastSeq, time, packChunk(frames), logId];
  return { query: { sql: INSERT, parameters } };
}

/** Before a run at the end, which may go on. */
function placeAfter(chunks: readonly Chunk[], last: number): number {
  const end = chunks.at(-1);
  const [event, ...more] = end === undefined ? [] : [...eventsOf(end)];
  return end && event?.event === 'compacted' && more.length === 0 ? end.firstSeq - 1 : last;
}

/** For a log that holds the event `seq` itself, and not as a fork. */
export async function wholeAt(
  database: SqliteDatabase,
  { logId, seq }: { logId: string; seq: number },
): Promise<Step> {
  const compactions = database.first<{ compactions: number }>({
    sql: COMPACTIONS,
    parameters: [logId],
  })?.compactions;
  const [chunk] = await database.all<Chunk>({
    sql: CHUNKS,
    parameters: [logId, seq - 1, seq],
    untilBytes: 1,
  });
  const event = chunk && [...eventsOf(chunk)].find((each) => each.seq >= seq);
  if (event && event.seq > seq) {
    const { from, to } = JSON.parse(Buffer.from(event.data).toString()) as { from: number; to: number };
    const detail = `the events ${from} to ${to} were compacted: take ${from - 1} or ${to}`;
    throw new AtollError('seq_compacted', detail);
  }
  const mustChange = { code: 'illegal_transition', detail: 'The log was compacted just now.' } as const;
  return { query: { sql: UNCHANGED, parameters: [logId, compactions ?? 0] }, mustChange };
}
