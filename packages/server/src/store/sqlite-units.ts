/**
 * Group commit: many units, one transaction, one fsync.
 *
 *   BEGIN IMMEDIATE
 *     SAVEPOINT unit … RELEASE       for each unit of several; one that fails is undone alone
 *   COMMIT                           the fsync; what it returns is durable (I1)
 *
 * A unit that is alone needs no savepoint: refusing it is a ROLLBACK. Savepoints cost SQLite a journal of their own.
 *
 * When the transaction itself is lost (disk full, I/O), every unit of the group is refused and nothing of it is
 * there; the next group starts afresh.
 */

import { packChunk } from './chunk-bytes.ts';
import type { Connection } from './sqlite-connection.ts';
import type { ChunkAppend, Outcome, Unit, WriteStep } from './sqlite-messages.ts';

type Refusal = Extract<Outcome, { kind: 'refused' }>;

// The compare-and-set of every append: an older epoch and a gap in the seqs change nothing (I2, I6, I12).
// A new assignment numbers its lines from 1 again, so only within an epoch does the line never fall.
const ADVANCE_LOG = `UPDATE logs SET last_seq = ?1, line = CASE WHEN epoch < ?3 THEN ?2 ELSE max(line, ?2) END, epoch = ?3,
    bytes = bytes + ?7
  WHERE id = ?4 AND tenant = ?5 AND epoch <= ?3 AND last_seq = ?6`;
const INSERT_CHUNK = `INSERT INTO log_chunks (log_id, tenant, epoch, first_seq, last_seq, time, frames)
  VALUES (?, ?, ?, ?, ?, ?, ?)`;
const LOG_GUARD = 'SELECT epoch, last_seq FROM logs WHERE id = ? AND tenant = ?';

/** Runs the units in order and answers each; never throws. */
export function runGroup(connection: Connection, units: readonly Unit<Uint8Array>[]): Outcome[] {
  const { database, statement } = connection;
  try {
    statement('BEGIN IMMEDIATE').run();
    const [only, ...others] = units;
    if (only !== undefined && others.length === 0) return [runAlone(connection, only)];
    const outcomes = units.map((unit) => runAmongOthers(connection, unit));
    statement('COMMIT').run();
    return outcomes;
  } catch (error) {
    // SQLite may have rolled back by itself already, or not: after a failed COMMIT the transaction can live on.
    if (database.isTransaction) database.exec('ROLLBACK');
    const lost = storageFailed(error);
    return units.map(() => lost);
  }
}

/** Ends the transaction; what it throws has refused the unit. */
function runAlone(connection: Connection, unit: Unit<Uint8Array>): Outcome {
  const time = new Date().toISOString();
  const refusal = runParts(connection, unit, time);
  connection.statement(refusal === undefined ? 'COMMIT' : 'ROLLBACK').run();
  return refusal ?? { kind: 'committed', time };
}

/** Throws only when the whole transaction is lost. */
function runAmongOthers(connection: Connection, unit: Unit<Uint8Array>): Outcome {
  const time = new Date().toISOString();
  const { database, statement } = connection;
  statement('SAVEPOINT unit').run();
  let refusal: Refusal | undefined;
  try {
    refusal = runParts(connection, unit, time);
  } catch (error) {
    if (!database.isTransaction) throw error;
    refusal = storageFailed(error);
  }
  if (refusal !== undefined) statement('ROLLBACK TO unit').run();
  statement('RELEASE unit').run();
  return refusal ?? { kind: 'committed', time };
}

function runParts(connection: Connection, unit: Unit<Uint8Array>, time: string): Refusal | undefined {
  const { before = [], append, steps } = unit;
  const refusal =
    runSteps(connection, before) ??
    (append === undefined ? undefined : appendChunk(connection, append, time));
  return refusal ?? runSteps(connection, steps);
}

function runSteps(connection: Connection, steps: readonly WriteStep[]): Refusal | undefined {
  for (const step of steps) {
    const refusal = runStep(connection, step);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function runStep(connection: Connection, step: WriteStep): Refusal | undefined {
  const { changes } = connection.statement(step.sql).run(...step.parameters);
  if (step.mustChange === undefined || changes > 0) return undefined;
  return { kind: 'refused', code: step.mustChange.code, detail: step.mustChange.detail };
}

function appendChunk(
  { statement }: Connection,
  chunk: ChunkAppend<Uint8Array>,
  time: string,
): Refusal | undefined {
  const { logId, tenant, epoch, firstSeq, lastSeq, line, frames } = chunk;
  const advanced = statement(ADVANCE_LOG).run(
    lastSeq,
    line,
    epoch,
    logId,
    tenant,
    firstSeq - 1,
    frames.length,
  );
  if (advanced.changes === 0) return whyNotAdvanced(statement(LOG_GUARD).get(logId, tenant), chunk);
  statement(INSERT_CHUNK).run(logId, tenant, epoch, firstSeq, lastSeq, time, packChunk(frames));
  return undefined;
}

function whyNotAdvanced(log: Record<string, unknown> | undefined, chunk: ChunkAppend<Uint8Array>): Refusal {
  if (log === undefined) return refused('storage_failed', `There is no log ${chunk.logId} in this tenant.`);
  if (Number(log.epoch) > chunk.epoch)
    return refused('stale_epoch', `The log is at epoch ${log.epoch}, the append at ${chunk.epoch}.`);
  // Only our own code can get here: the caller miscounted.
  return refused(
    'storage_failed',
    `The log ends at seq ${log.last_seq}, the chunk starts at ${chunk.firstSeq}.`,
  );
}

function storageFailed(error: unknown): Refusal {
  return refused('storage_failed', `The store could not commit: ${errorText(error)}.`);
}

function refused(code: Refusal['code'], detail: string): Refusal {
  return { kind: 'refused', code, detail };
}

function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
