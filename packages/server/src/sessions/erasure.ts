/** What a session leaves when it is erased: the sums of what it used, and nothing else. */
import type { Snapshots } from '../snapshots/snapshots.ts';
import type { Step, Store } from '../store/store.ts';
import type { SessionRow } from '../store/tables.ts';
import { keepUsage } from '../usage/counting.ts';

/** For the commit that erases its log. */
export function erasure(
  { store, snapshots }: { store: Store; snapshots: Pick<Snapshots, 'forget'> },
  session: Pick<SessionRow, 'id' | 'tenant' | 'agent' | 'log_id'>,
  at: string,
): Step[] {
  const { sql } = store;
  const { id } = session;
  return [
    ...keepUsage(session, at),
    { query: sql.deleteFrom('turns').where('session_id', '=', id) },
    { query: sql.deleteFrom('approvals').where('session_id', '=', id) },
    { query: sql.deleteFrom('jobs').where('session_id', '=', id) },
    { query: sql.deleteFrom('model_use').where('session_id', '=', id) },
    { query: sql.deleteFrom('sandboxes').where('session_id', '=', id) },
    snapshots.forget(id),
    { query: sql.deleteFrom('sessions').where('id', '=', id) },
  ];
}
