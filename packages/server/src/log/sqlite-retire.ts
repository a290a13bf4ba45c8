/**
 * Erasing logs in the background, a bounded piece at a time, however long they are. A log that is `erased` and holds more
 * than its forks share is work; what there is to do is seen from the rows alone, so it can be broken off after any piece.
 *
 *   chunks that no fork shares go, from the end on  →  the chunk that is shared in part is cut  →  without forks, the row
 *
 * A log whose last fork went has become work by that.
 */
import { sqlSteps } from '../store/sqlite.ts';
import type { SqliteDatabase } from '../store/sqlite-database.ts';
import type { Step } from '../store/store.ts';
import { cutSteps, eraseLog, isLoneLog } from './sqlite-erase.ts';

/** Some ten MB at most, and a few ms. */
const PIECE_CHUNKS = 32;

const CHUNKS = `SELECT count(*) AS count FROM
  (SELECT 1 FROM log_chunks WHERE log_id = ? LIMIT ${PIECE_CHUNKS + 1})`;
/** The higher epoch refuses whoever still has something to append (I6). */
const MARK = 'UPDATE logs SET erased = 1, epoch = epoch + 1 WHERE id = ?';
const SHARED = '(SELECT max(parent_seq) FROM logs AS fork WHERE fork.parent_id = logs.id)';
const WORK = `SELECT id, ${SHARED} AS shared FROM logs WHERE erased = 1 AND last_seq > coalesce(${SHARED}, -1) LIMIT 1`;
const UNSHARED = `SELECT min(first_seq) AS seq FROM (SELECT first_seq FROM log_chunks WHERE log_id = ? AND first_seq > ?
  ORDER BY first_seq DESC LIMIT ${PIECE_CHUNKS})`;
/** Changes nothing when its forks are not those that were looked at. */
const SHORTEN = `UPDATE logs SET last_seq = min(last_seq, ?2), parent_seq = min(parent_seq, ?2)
  WHERE id = ?1 AND erased = 1 AND ${SHARED} IS ?3`;
const DELETE_CHUNKS = 'DELETE FROM log_chunks WHERE log_id = ? AND first_seq > ?';
const DELETE_CHECKPOINTS = 'DELETE FROM log_checkpoints WHERE log_id = ? AND seq > ?';
const DELETE_LOG = `DELETE FROM logs WHERE id = ? AND erased = 1 AND ${SHARED} IS NULL`;

const mustChange = { code: 'illegal_transition', detail: 'The log was forked just now.' } as const;
const step = (sql: string, ...parameters: unknown[]): Step => ({ query: { sql, parameters } });

/** A short log goes at once, which is one commit instead of three. */
export async function retireLog(
  database: SqliteDatabase,
  logId: string,
  also: readonly Step[],
): Promise<void> {
  const { count = 0 } = database.first<{ count: number }>({ sql: CHUNKS, parameters: [logId] }) ?? {};
  if (count <= PIECE_CHUNKS && isLoneLog(database, logId)) return eraseLog(database, logId, also);
  await database.run({ steps: sqlSteps([...also, step(MARK, logId)]) });
}

export async function sweepLogs(database: SqliteDatabase): Promise<boolean> {
  const work = database.first<{ id: string; shared: number | null }>({ sql: WORK, parameters: [] });
  if (work === undefined) return false;
  await database.run({ steps: sqlSteps(await nextPiece(database, work)) });
  return true;
}

async function nextPiece(
  database: SqliteDatabase,
  { id, shared }: { id: string; shared: number | null },
): Promise<Step[]> {
  const keep = shared ?? 0;
  const first =
    database.first<{ seq: number | null }>({ sql: UNSHARED, parameters: [id, keep] })?.seq ?? null;
  const shorten = (to: number): Step[] => [
    { ...step(SHORTEN, id, to, shared), mustChange },
    step(DELETE_CHUNKS, id, to),
    step(DELETE_CHECKPOINTS, id, to),
  ];
  if (first !== null) return shorten(first - 1);
  if (shared !== null) return [...(await cutSteps(database, id, shared)), ...shorten(shared)];
  return [step(DELETE_CHECKPOINTS, id, -1), { ...step(DELETE_LOG, id), mustChange }];
}
