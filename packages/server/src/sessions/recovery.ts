/**
 * After a crash, or at a stop: sessions that were at work are brought to a status that is true. Their open turns end
 * `interrupted`, they are paused with the same cause, and their next message resumes them. Nothing here needs the
 * runner: its sandboxes died with it, or are told apart by their old epoch. What may live on elsewhere is adoption.ts's.
 */
import { type SessionStatus, sandboxStatuses, sessionStatuses } from '@atoll/protocol/statuses';
import { commitTime } from '../store/commit-time.ts';
import type { Step, Store } from '../store/store.ts';
import type { TurnRow } from '../store/tables.ts';
import type { LiveSession, LiveTurn } from './live-session.ts';
import { selectOpenTurns } from './rows.ts';
import type { SandboxEnd } from './sandboxes.ts';
import { holdsSandbox } from './status.ts';
import type { Turns } from './turns.ts';

export type RecoveryOptions = { store: Store; turns: Turns; now: () => number };

const sandboxHolders: SessionStatus[] = sessionStatuses.filter(holdsSandbox);
const liveSandboxes = sandboxStatuses.filter((status) => status !== 'ended' && status !== 'failed');

/** Ends what is open in one session, gives its places back, and records why. */
export async function recoverSession(
  { store, turns, now }: RecoveryOptions,
  session: LiveSession,
  end: SandboxEnd,
): Promise<void> {
  const open = await store.all(selectOpenTurns(store, session.id));
  // What happened while we looked counts: only what is still open is ended.
  if (!holdsSandbox(session.status)) return;
  const recorded = open.map((row) =>
    turns.recordDone(session, session.turns.get(row.id) ?? revive(session, row), {
      status: 'interrupted',
      ...end,
    }),
  );
  // A place for each sandbox that the store believes in, wherever that is: the session itself may not know of it yet.
  // A runner that attached anew has none reserved.
  const places = store.sql.updateTable('runners').set((row) => {
    const held = row
      .selectFrom('sandboxes')
      .select((of) => of.fn.countAll<number>().as('held'))
      .whereRef('sandboxes.runner_id', '=', 'runners.id')
      .where('session_id', '=', session.id)
      .where('sandboxes.status', 'in', liveSandboxes);
    return { reserved: row.fn<number>('max', [row.lit(0), row('reserved', '-', held)]) };
  });
  const leftovers = leftoverRows(store, end, {
    endedAt: new Date(now()).toISOString(),
    sessionId: session.id,
  });
  recorded.push(
    session.record([session.statusEvent('sandbox_lost', end)], [{ query: places }, ...leftovers]),
  );
  await Promise.all(recorded);
}

function revive(session: LiveSession, row: TurnRow): LiveTurn {
  const turn: LiveTurn = {
    id: row.id,
    inputSeq: row.input_seq,
    content: '',
    contentBytes: 0,
    options: {},
    traceparent: '',
    waited: false,
    startSeq: row.start_seq ?? undefined,
    doneSeq: undefined,
    interrupted: true,
  };
  session.turns.set(turn.id, turn);
  return turn;
}

/** Sandboxes and jobs that run no more: of one session, or (at a start) of all that have no sandbox any more. */
export function leftoverRows(
  { sql }: Store,
  end: SandboxEnd,
  { endedAt, sessionId }: { endedAt: string; sessionId?: string },
): Step[] {
  let sandboxes = sql
    .updateTable('sandboxes')
    .set((row) => ({ status: 'ended' as const, ...end, ended_at: commitTime(row) }))
    .where('status', 'in', liveSandboxes);
  let jobs = sql
    .updateTable('jobs')
    .set({ status: 'failed', ...end, updated_at: endedAt })
    .where('status', 'in', ['pending', 'running']);
  sandboxes = sandboxes.where('session_id', sessionId === undefined ? 'is not' : '=', sessionId ?? null);
  if (sessionId === undefined) {
    const held = sql.selectFrom('sessions').select('sandbox_id').where('status', 'in', sandboxHolders);
    sandboxes = sandboxes.where('id', 'not in', held.where('sandbox_id', 'is not', null));
  }
  jobs = jobs.where('session_id', sessionId === undefined ? 'is not' : '=', sessionId ?? null);
  return [{ query: sandboxes }, { query: jobs }];
}

/** Sessions that a crash left at work. */
export async function leftBehind(store: Store): Promise<string[]> {
  const query = store.sql.selectFrom('sessions').select('id').where('status', 'in', sandboxHolders);
  return (await store.all(query)).map((row) => row.id);
}
