/**
 * Sessions that go: erased because somebody wants that, ended or erased because of their age. One leaves memory after the
 * commit that erases it: before that it would only be loaded again by whoever asks for it meanwhile.
 */
import { AtollError } from '@atoll/protocol/errors';
import type { Log } from '../log/log.ts';
import type { Snapshots } from '../snapshots/snapshots.ts';
import type { Store } from '../store/store.ts';
import type { SessionRow } from '../store/tables.ts';
import { erasure } from './erasure.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { LiveSession } from './live-session.ts';
import type { LiveSessions } from './live-sessions.ts';

export type Retiring = {
  /** Erases it at once. */
  purge(session: LiveSession): Promise<void>;
  /** Ends the session that has been paused longest, if that is since before `before`; false: there is none. */
  endPaused(before: string, detail: string): Promise<boolean>;
  /** Erases the session that ended first, if that was before `before`; false: there is none. The rest of a long log goes later. */
  eraseEnded(before: string): Promise<boolean>;
};

// In the words of their indexes.
const PAUSED = `SELECT id FROM sessions WHERE status = 'paused' AND updated_at < ? ORDER BY updated_at LIMIT 1`;
const ENDED = `SELECT id, tenant, agent, log_id FROM sessions WHERE ended_at IS NOT NULL AND ended_at < ?
  ORDER BY ended_at LIMIT 1`;

export function createRetiring(options: {
  store: Store;
  log: Log;
  live: LiveSessions;
  lifecycle: Lifecycle;
  snapshots: Pick<Snapshots, 'forget'>;
  now: () => number;
}): Retiring {
  const { store, log, live, lifecycle, now } = options;
  const timestamp = () => new Date(now()).toISOString();

  /** Whoever follows it hears that it is gone. */
  async function erased(id: string, erasing: () => Promise<void>): Promise<void> {
    live.known(id)?.log.close(new AtollError('not_found', `session ${id} was erased`));
    await erasing().finally(() => live.delete(id));
  }

  return {
    purge: ({ id, row }) => erased(id, () => log.erase(row.log_id, erasure(options, row, timestamp()))),
    async endPaused(before, detail) {
      const row = await store.first<{ id: string }>({ sql: PAUSED, parameters: [before] });
      if (row === undefined) return false;
      const session = await live.load(row.id);
      // Somebody came for it just now.
      if (session.status !== 'paused' || session.turns.size > 0) return false;
      await lifecycle.end(session, { cause: 'retention', detail });
      if (session.log.readers === 0) live.delete(session.id);
      return true;
    },
    async eraseEnded(before) {
      type Ended = Pick<SessionRow, 'id' | 'tenant' | 'agent' | 'log_id'>;
      const row = await store.first<Ended>({ sql: ENDED, parameters: [before] });
      if (row === undefined) return false;
      await erased(row.id, () => log.retire(row.log_id, erasure(options, row, timestamp())));
      return true;
    },
  };
}
