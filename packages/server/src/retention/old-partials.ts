/** Partial messages of turns that completed some time ago are compacted, turn by turn, each piece by piece. */
import type { Log } from '../log/log.ts';
import { partialsOf } from '../log/partials.ts';
import { executorKindOf } from '../sessions/settings.ts';
import type { Store } from '../store/store.ts';

type Work = {
  session_id: string;
  id: string;
  log_id: string;
  start_seq: number;
  done_seq: number;
  settings: string;
  /** null: that version is gone. */
  agent_settings: string | null;
};

const WORK = `SELECT session_id, turns.id, log_id, start_seq, done_seq, sessions.settings,
    agent_versions.settings AS agent_settings
  FROM turns JOIN sessions ON sessions.id = session_id
  LEFT JOIN agent_versions ON agent_versions.tenant = sessions.tenant AND agent_versions.agent = sessions.agent
    AND agent_versions.version = sessions.agent_version
  WHERE partials = 1 AND turns.ended_at < ? ORDER BY turns.ended_at LIMIT 1`;
const DONE = 'UPDATE turns SET partials = 0 WHERE session_id = ? AND id = ?';

export type OldPartials = {
  /** Compacts a piece of a turn that ended before `before`. Resolves with how many events that took, and whether there is more. */
  step(before: string): Promise<{ done: number; more: boolean }>;
};

export function createOldPartials({ store, log }: { store: Store; log: Log }): OldPartials {
  /** Where the turn that is under way goes on; forgotten with the process, and then it begins anew. */
  let place: { turn: string; after: number } | undefined;

  return {
    async step(before) {
      const work = await store.first<Work>({ sql: WORK, parameters: [before] });
      if (work === undefined) return { done: 0, more: false };
      const { id, session_id, log_id: logId, start_seq, done_seq: upTo } = work;
      const takes = partialsOf(executorKindOf(work.agent_settings, work.settings));
      if (takes === undefined) {
        await store.commit([{ query: { sql: DONE, parameters: [session_id, id] } }]);
        return { done: 0, more: true };
      }
      const after = place?.turn === id ? place.after : start_seq;
      const { next, events } = await log.compact({ logId, after, upTo, takes });
      place = next === undefined ? undefined : { turn: id, after: next };
      if (next === undefined) await store.commit([{ query: { sql: DONE, parameters: [session_id, id] } }]);
      return { done: events, more: true };
    },
  };
}
