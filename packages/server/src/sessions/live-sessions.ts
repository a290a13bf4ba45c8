/**
 * The sessions in memory. One is here while it has a sandbox or a reader; otherwise its row says all, and it is loaded
 * when somebody asks. One that a crash or a broken write left at work is recovered as it is loaded.
 */
import { AtollError } from '@atoll/protocol/errors';
import { type Access, refuseForeignSession, refuseStale } from '../keys/access.ts';
import type { Log, LogHead } from '../log/log.ts';
import { createSessionLog } from '../log/session-log.ts';
import type { Store } from '../store/store.ts';
import type { ApprovalRow, SessionRow } from '../store/tables.ts';
import { requestOf, unspentApprovals } from './approvals.ts';
import { createCheckpoints, foldAt } from './checkpoints.ts';
import { initialState, type SessionState } from './fold.ts';
import { LiveSession } from './live-session.ts';
import { conversationIn } from './rows.ts';
import { holdsSandbox } from './status.ts';

/** Whoever was handed a session may hold it for a moment before it does something that shows: longer than that. */
const HELD_MS = 60_000;

export type LiveSessions = {
  /** Rejects with `not_found`; another tenant's session is not there either (I12). */
  find(access: Access, id: string): Promise<LiveSession>;
  /** As `find`, and with `stale_epoch` for the token of an assignment that is over (I6). */
  get(access: Access, id: string): Promise<LiveSession>;
  load(id: string): Promise<LiveSession>;
  known(id: string): LiveSession | undefined;
  /** A session that is just being made: its row is not written yet. */
  add(row: SessionRow): LiveSession;
  delete(id: string): void;
  all(): LiveSession[];
  /** Forgets those that have no sandbox, no reader, nothing under way, and were not asked for lately. */
  forgetQuiet(): void;
};

export function createLiveSessions(options: {
  store: Store;
  log: Log;
  now: () => number;
  /** Brings a session that was left at work to a status that is true. */
  recover: (session: LiveSession) => Promise<void>;
  /** That one is at work still: its status is true. Default: none is. */
  goesOn?: (id: string) => boolean;
  onBroken: (session: LiveSession, error: unknown) => void;
}): LiveSessions {
  const { store, log, now, recover, goesOn = () => false, onBroken } = options;
  const live = new Map<string, LiveSession>();
  const loading = new Map<string, Promise<LiveSession>>();
  const askedForMs = new WeakMap<LiveSession, number>();

  function add(row: SessionRow, state: SessionState, head: LogHead): LiveSession {
    const epoch = () => session.epoch;
    const sessionLog = createSessionLog({ log, logId: row.log_id, tenant: row.tenant, epoch, head });
    const checkpoints = createCheckpoints({ log, logId: row.log_id, tenant: row.tenant });
    const options = { row, state, log: sessionLog, checkpoints, store, now, onBroken };
    const session: LiveSession = new LiveSession(options);
    live.set(row.id, session);
    return session;
  }

  function addLoaded(
    { row, head, state }: { row: SessionRow; head: LogHead; state: SessionState },
    approvals: readonly ApprovalRow[],
  ): LiveSession {
    const open = approvals.filter(({ status }) => status === 'requested').map(requestOf);
    const session = add(row, { ...state, approvals: open }, head);
    for (const { id, call_hash: callHash, decision } of approvals)
      if (decision !== null) session.decided.set(id, { callHash, decision: JSON.parse(decision) });
    return session;
  }

  async function loadRow(id: string): Promise<LiveSession> {
    const approvals = await unspentApprovals(store, id);
    // From here on nothing is waited for but reads that are done at once: who erases it deletes it here after that.
    const row = await store.first(store.sql.selectFrom('sessions').selectAll().where('id', '=', id));
    if (!row) throw new AtollError('not_found', `no session ${id}`);
    const head = await log.head(row.log_id);
    if (!head) throw new AtollError('internal', `session ${id} has no log`);
    // Its turn and its queue stand in the log alone. That is at a start, when nobody erases.
    const state = goesOn(id)
      ? (await foldAt(log, { logId: row.log_id, seq: head.lastSeq })).state
      : stateOf(row);
    const session = live.get(id) ?? addLoaded({ row, head, state }, approvals);
    if (holdsSandbox(row.status)) await recover(session);
    return session;
  }

  /** Whoever asks while it is being loaded gets the same one, recovered. Two of one session must never be. */
  async function load(id: string): Promise<LiveSession> {
    const session = await (loading.get(id) ?? live.get(id) ?? startLoading(id));
    askedForMs.set(session, now());
    return session;
  }

  function startLoading(id: string): Promise<LiveSession> {
    const loaded = loadRow(id).finally(() => loading.delete(id));
    loading.set(id, loaded);
    return loaded;
  }

  async function find(access: Access, id: string): Promise<LiveSession> {
    refuseForeignSession(access, id);
    const session = await load(id);
    if (!access.may(session.row.tenant)) throw new AtollError('not_found', `no session ${id}`);
    return session;
  }

  return {
    find,
    async get(access, id) {
      const session = await find(access, id);
      refuseStale(access, session.epoch);
      return session;
    },
    load,
    known: (id) => live.get(id),
    add: (row) => add(row, initialState, { lastSeq: 0, line: 0, epoch: 0 }),
    delete: (id) => void live.delete(id),
    all: () => [...live.values()],
    forgetQuiet() {
      for (const session of live.values()) {
        const { log: own, turns } = session;
        const settled = turns.size === 0 && own.readers === 0 && own.durableSeq === own.lastSeq;
        const held = (askedForMs.get(session) ?? 0) > now() - HELD_MS;
        if (settled && !held && !holdsSandbox(session.status)) live.delete(session.id);
      }
    },
  };
}

/** What the row keeps of the fold; a session that is not in memory has no turn. */
function stateOf(row: SessionRow): SessionState {
  return {
    ...initialState,
    status: row.status,
    cause: row.cause,
    detail: row.detail,
    usage: JSON.parse(row.usage) as SessionState['usage'],
    sandboxId: row.sandbox_id,
    ...conversationIn(row),
  };
}
