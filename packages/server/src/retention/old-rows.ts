/** Rows of sandboxes that ended, with their snapshots, and of the jobs that are done: their time is counted. */
import { firstIdOf } from '@atoll/protocol/ids';
import type { Store } from '../store/store.ts';

const ROWS = 200;
const SANDBOXES = `SELECT id FROM sandboxes WHERE ended_at < ? AND counted = 1 LIMIT ${ROWS}`;
const JOBS = `SELECT id FROM jobs WHERE id < ? AND status IN ('completed', 'failed') AND updated_at < ? LIMIT ${ROWS}`;
const remove = (table: string, column = 'id') =>
  `DELETE FROM ${table} WHERE ${column} IN (SELECT value FROM json_each(?))`;

/** Removes some of those that ended before `beforeMs`. Resolves with how many. */
export async function removeOldRows(store: Store, beforeMs: number): Promise<number> {
  const before = new Date(beforeMs).toISOString();
  const [sandboxes, jobs] = await Promise.all([
    store.all<{ id: string }>({ sql: SANDBOXES, parameters: [before] }),
    store.all<{ id: string }>({ sql: JOBS, parameters: [firstIdOf('job', beforeMs), before] }),
  ]);
  const going = [
    { sql: remove('sandbox_snapshots', 'sandbox_id'), rows: sandboxes },
    { sql: remove('sandboxes'), rows: sandboxes },
    { sql: remove('jobs'), rows: jobs },
  ].filter(({ rows }) => rows.length > 0);
  if (going.length > 0)
    await store.commit(
      going.map(({ sql, rows }) => ({
        query: { sql, parameters: [JSON.stringify(rows.map(({ id }) => id))] },
      })),
    );
  return sandboxes.length + jobs.length;
}
