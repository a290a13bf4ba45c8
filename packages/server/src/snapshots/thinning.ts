/**
 * Snapshots that nobody needs any more. Those stay that are younger than `thinMs`; of older ones the last of each day, and
 * of those older than `keepMs` none. Whatever their age the latest of a session stays, which its next sandbox begins
 * with, and the one that a fork began with. What a fork needs of its parent's it has a row of its own for.
 *
 * Only rows go here; the collector removes the blobs to which no row leads.
 */
import { firstIdOf } from '@atoll/protocol/ids';
import type { Store } from '../store/store.ts';

export type Thinning = {
  /** Looks at a bounded number of rows. Resolves with how many went, and whether there are more to be looked at. */
  step(): Promise<{ done: number; more: boolean }>;
};

export type ThinningOptions = {
  store: Store;
  now: () => number;
  thinMs: number | undefined;
  keepMs: number | undefined;
};

const LOOKED_AT = 200;
/** All of them are walked through again, since what was the latest one may not be it any more. */
const WALK_MS = 60 * 60_000;

/** Another complete one of the session after it: in all, or of its day. */
const later = (sameDay: string) => `EXISTS (SELECT 1 FROM snapshots AS later
    WHERE later.session_id = snapshots.session_id AND later.status = 'complete'
      AND (later.seq, later.id) > (snapshots.seq, snapshots.id) ${sameDay})`;
const LATER = later('');
const LATER_THAT_DAY = later('AND substr(later.created_at, 1, 10) = substr(snapshots.created_at, 1, 10)');
const BEGINNING = 'EXISTS (SELECT 1 FROM sessions WHERE id = session_id AND snapshot_seq = snapshots.seq)';

const LOOK = `SELECT id, ${LATER} AND NOT ${BEGINNING} AND (created_at < ?3 OR created_at < ?4 AND
    (status = 'failed' OR ${LATER_THAT_DAY})) AS goes
  FROM snapshots WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ${LOOKED_AT}`;
const DELETE = `DELETE FROM snapshots WHERE id IN (SELECT value FROM json_each(?)) AND ${LATER}`;

export function createThinning({ store, now, thinMs, keepMs }: ThinningOptions): Thinning {
  const youngestMs = Math.min(thinMs ?? Number.POSITIVE_INFINITY, keepMs ?? Number.POSITIVE_INFINITY);
  let cursor = '';
  let nextWalkMs = 0;
  const before = (ms: number | undefined) => (ms === undefined ? '' : new Date(now() - ms).toISOString());

  return {
    async step() {
      if (now() < nextWalkMs) return { done: 0, more: false };
      const end = firstIdOf('snapshot', now() - youngestMs);
      const rows = await store.all<{ id: string; goes: 0 | 1 }>({
        sql: LOOK,
        parameters: [cursor, end, before(keepMs), before(thinMs)],
      });
      const going = rows.filter(({ goes }) => goes === 1).map(({ id }) => id);
      if (going.length > 0)
        await store.commit([{ query: { sql: DELETE, parameters: [JSON.stringify(going)] } }]);
      cursor = rows.at(-1)?.id ?? '';
      const more = rows.length === LOOKED_AT;
      if (!more) {
        cursor = '';
        nextWalkMs = now() + Math.min(WALK_MS, youngestMs / 10);
      }
      return { done: going.length, more };
    },
  };
}
