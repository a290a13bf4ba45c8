/**
 * Erasing a log, and what its ancestors kept for it alone.
 *
 *   no fork shares it    its row goes, with all it held; then its parent is looked at, if that is erased, too
 *   forks share it       what is after the last seq that one of them shares goes, to the byte; its row stays, `erased`
 *
 * Who shares what is looked up first and everything is then written as one unit, which is refused when a fork was made
 * in between.
 */

import { AtollError } from '@atoll/protocol/errors';
import { packChunk } from '../store/chunk-bytes.ts';
import { sqlSteps } from '../store/sqlite.ts';
import type { SqliteDatabase } from '../store/sqlite-database.ts';
import type { Step } from '../store/store.ts';
import { framesUpTo } from './frames.ts';
import type { LogChunk } from './log.ts';

type Row = { parentId: string | null; parentSeq: number | null; erased: 0 | 1 };
/** What stays of a log: the seqs up to `keep`; nothing where that is undefined. */
type Erasure = { id: string; keep: number | undefined; sharedBefore: number | null };

const ROW = 'SELECT parent_id AS parentId, parent_seq AS parentSeq, erased FROM logs WHERE id = ?';
const FORKS = 'SELECT id, parent_seq AS seq FROM logs WHERE parent_id = ?';
/** Changes nothing when its forks are not those that were looked at. */
const ERASE = `UPDATE logs SET erased = 1, last_seq = min(last_seq, ?2), parent_seq = min(parent_seq, ?2)
  WHERE id = ?1 AND (SELECT max(parent_seq) FROM logs AS fork WHERE fork.parent_id = ?1) IS ?3`;
const SHARED_CHUNK = `SELECT first_seq AS firstSeq, frames FROM log_chunks
  WHERE log_id = ?1 AND first_seq <= ?2 AND last_seq > ?2`;
const CUT_CHUNK = 'UPDATE log_chunks SET last_seq = ?2, frames = ?3 WHERE log_id = ?1 AND first_seq = ?4';
const DELETE = [
  'DELETE FROM log_chunks WHERE log_id = ? AND first_seq > ?',
  'DELETE FROM log_checkpoints WHERE log_id = ? AND seq > ?',
];
const DELETE_LOG = 'DELETE FROM logs WHERE id = ?';

const ATTEMPTS = 5;

export async function eraseLog(
  database: SqliteDatabase,
  logId: string,
  also: readonly Step[],
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const steps = await stepsOf(database, planErasure(database, logId));
    try {
      await database.run({ steps: sqlSteps([...also, ...steps]) });
      return;
    } catch (error) {
      const forked = error instanceof AtollError && error.code === 'illegal_transition';
      if (!forked || attempt === ATTEMPTS) throw error;
    }
  }
}

/** Nothing else goes with it. */
export function isLoneLog(database: SqliteDatabase, logId: string): boolean {
  return planErasure(database, logId).length === 1;
}

function planErasure(database: SqliteDatabase, logId: string): Erasure[] {
  const plan: Erasure[] = [];
  let id: string | null = logId;
  while (id !== null) {
    const row: Row | undefined = database.first<Row>({ sql: ROW, parameters: [id] });
    if (row === undefined || (id !== logId && row.erased === 0)) break;
    const forks = database.rows<{ id: string; seq: number }>({ sql: FORKS, parameters: [id] });
    const seqs = forks.flatMap((fork) => sharedBy(fork, plan));
    const sharedBefore = forks.length === 0 ? null : Math.max(...forks.map(({ seq }) => seq));
    plan.push({ id, keep: seqs.length === 0 ? undefined : Math.max(...seqs), sharedBefore });
    id = row.parentId;
  }
  return plan;
}

/** How far a fork will still share its parent, when the plan is carried out. */
function sharedBy(fork: { id: string; seq: number }, plan: readonly Erasure[]): number[] {
  const erasure = plan.find(({ id }) => id === fork.id);
  if (erasure === undefined) return [fork.seq];
  return erasure.keep === undefined ? [] : [Math.min(fork.seq, erasure.keep)];
}

async function stepsOf(database: SqliteDatabase, plan: readonly Erasure[]): Promise<Step[]> {
  const step = (sql: string, ...parameters: unknown[]): Step => ({ query: { sql, parameters } });
  // From the oldest ancestor on, each sees its forks as they were looked at.
  const guards = plan.toReversed().map(
    ({ id, keep = 0, sharedBefore }): Step => ({
      ...step(ERASE, id, keep, sharedBefore),
      mustChange: { code: 'illegal_transition', detail: 'The log was forked just now.' },
    }),
  );
  const deletions: Step[] = [];
  for (const { id, keep } of plan) {
    if (keep !== undefined) deletions.push(...(await cutSteps(database, id, keep)));
    for (const sql of DELETE) deletions.push(step(sql, id, keep ?? -1));
    if (keep === undefined) deletions.push(step(DELETE_LOG, id));
  }
  return [...guards, ...deletions];
}

/** The chunk that a fork shares only in part. */
export async function cutSteps(database: SqliteDatabase, id: string, keep: number): Promise<Step[]> {
  const [chunk] = await database.all<Pick<LogChunk, 'firstSeq' | 'frames'>>({
    sql: SHARED_CHUNK,
    parameters: [id, keep],
    untilBytes: 1,
  });
  if (chunk === undefined) return [];
  const frames = packChunk(framesUpTo(chunk, keep));
  return [{ query: { sql: CUT_CHUNK, parameters: [id, keep, frames, chunk.firstSeq] } }];
}
