/**
 * What was used, added to the sums of `usage_days` (usage-schema.ts) in the commits in which it is used: nothing is counted
 * that is not durable, and nothing twice. An executor's own numbers stay in its `done` as it told them; here they are
 * bounded, since a sandbox may tell anything (I11).
 */
import type { Step, Store } from '../store/store.ts';

/** Whose it is. */
export type Consumer = { id: string; tenant: string; agent: string; log_id: string };

/** Of one turn. Sums of very many of them are exact. */
const MAX_TOKENS = 1e9;
const MAX_COST_USD = 1e6;

const KEY = 'tenant, day, agent, session_id';
const SUMS = [
  'turns',
  'model_requests',
  'input_tokens',
  'output_tokens',
  'cache_read_tokens',
  'cache_write_tokens',
  'cost_usd',
  'sandbox_seconds',
  'log_bytes',
  'snapshot_bytes',
] as const;

const adding = (columns: readonly string[]) =>
  `ON CONFLICT (${KEY}) DO UPDATE SET ${columns.map((name) => `${name} = ${name} + excluded.${name}`).join(', ')}`;

const TURN_SUMS = SUMS.slice(0, 7);
const COUNT_TURN = `INSERT INTO usage_days (${KEY}, ${TURN_SUMS.join(', ')}, log_bytes)
  SELECT tenant, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, bytes - counted_bytes FROM logs WHERE id = ?
  ${adding([...TURN_SUMS, 'log_bytes'])}`;
const COUNT_LOG = `INSERT INTO usage_days (${KEY}, log_bytes)
  SELECT tenant, ?, ?, ?, bytes - counted_bytes FROM logs WHERE id = ? AND bytes > counted_bytes
  ${adding(['log_bytes'])}`;
const LOG_COUNTED = 'UPDATE logs SET counted_bytes = bytes WHERE id = ?';
const COUNT_SNAPSHOT = `INSERT INTO usage_days (${KEY}, snapshot_bytes)
  SELECT tenant, ?, agent, id, ? FROM sessions WHERE id = ?
  ${adding(['snapshot_bytes'])}`;
const COUNT_SANDBOX_SNAPSHOT = `INSERT INTO usage_days (${KEY}, snapshot_bytes) VALUES (?, ?, '', '', ?)
  ${adding(['snapshot_bytes'])}`;
/** To be told apart from sessions by having no id. */
const GIVE_UP = `INSERT INTO usage_days (${KEY}, ${SUMS.join(', ')})
  SELECT tenant, day, agent, '', ${SUMS.join(', ')} FROM usage_days WHERE session_id = ?
  ${adding(SUMS)}`;
const FORGET = 'DELETE FROM usage_days WHERE session_id = ?';

/**
 * The time of sandboxes that is not in the sums yet, cut at midnight (UTC): `span` has a row for each day of each of them.
 * One that still runs counts until now.
 */
export const uncountedSpans = (which: string) => `WITH RECURSIVE span (tenant, session_id, since, until) AS (
    SELECT tenant, session_id, unixepoch(ready_at, 'subsec'), unixepoch(coalesce(ended_at, 'now'), 'subsec')
    FROM sandboxes WHERE counted = 0 AND ready_at IS NOT NULL AND ${which}
    UNION ALL
    SELECT tenant, session_id, ${MIDNIGHT}, until FROM span WHERE ${MIDNIGHT} < until
  ),
  sandbox_days AS (
    SELECT span.tenant, date(since, 'unixepoch') AS day, coalesce(agent, '') AS agent,
      coalesce(session_id, '') AS session_id, max(0.0, min(until, ${MIDNIGHT}) - since) AS sandbox_seconds
    FROM span LEFT JOIN sessions ON sessions.id = session_id
  )`;
const MIDNIGHT = '(CAST(since / 86400 AS INTEGER) + 1) * 86400';

const countSandboxes = (which: string) => `INSERT INTO usage_days (${KEY}, sandbox_seconds)
  ${uncountedSpans(which)}
  SELECT ${KEY}, sum(sandbox_seconds) FROM sandbox_days GROUP BY 1, 2, 3, 4
  ${adding(['sandbox_seconds'])}`;
const COUNT_SANDBOXES_OF = countSandboxes('session_id = ?');
const NAMED = 'id IN (SELECT value FROM json_each(?)) AND ended_at IS NOT NULL';
const COUNT_SANDBOXES = countSandboxes(NAMED);
const SANDBOXES_COUNTED = `UPDATE sandboxes SET counted = 1 WHERE ${NAMED}`;

const LAST_SIGN = `SELECT max((SELECT time FROM log_chunks WHERE log_id = held.log_id ORDER BY first_seq DESC LIMIT 1))
  AS time FROM sessions AS held WHERE held.status NOT IN ('paused', 'ended', 'failed')`;
const LOST = `session_id IS NOT NULL AND status NOT IN ('ended', 'failed') AND counted = 0 AND ready_at IS NOT NULL`;
const countLost = (which: string) =>
  [
    `UPDATE sandboxes SET ended_at = max(ready_at, coalesce(?2, ready_at)) WHERE ${which} AND ended_at IS NULL`,
    countSandboxes(`${which} AND ended_at IS NOT NULL`),
    `UPDATE sandboxes SET counted = 1, ended_at = NULL WHERE ${which}`,
  ] as const;
const COUNT_LOST_BUT = countLost(`${LOST} AND id NOT IN (SELECT value FROM json_each(?1))`);
const COUNT_LOST_ONE = countLost(`${LOST} AND id = ?1`);

/** A turn that ended, and what was written to its log since the one before. In the commit of its `done`. */
export function countTurn(
  { id, agent, log_id: logId }: Consumer,
  { usage = {}, endedAt }: { usage: Readonly<Record<string, unknown>> | undefined; endedAt: string },
): Step[] {
  const { modelRequests, inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, costUsd } =
    boundedUsage(usage);
  const tokens = [inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens];
  const parameters = [dayOf(endedAt), agent, id, 1, modelRequests, ...tokens, costUsd, logId];
  return [{ query: { sql: COUNT_TURN, parameters } }, { query: { sql: LOG_COUNTED, parameters: [logId] } }];
}

/** What was written to a log outside of its turns. */
export function countLog({ id, agent, log_id: logId }: Consumer, at: string): Step[] {
  return [
    { query: { sql: COUNT_LOG, parameters: [dayOf(at), agent, id, logId] } },
    { query: { sql: LOG_COUNTED, parameters: [logId] } },
  ];
}

export function countSnapshot(taken: { sessionId: string; storedBytes: number; endedAt: string }): Step {
  const { sessionId, storedBytes, endedAt } = taken;
  return { query: { sql: COUNT_SNAPSHOT, parameters: [dayOf(endedAt), storedBytes, sessionId] } };
}

/** Of a sandbox without a session: nobody's but its tenant's. */
export function countSandboxSnapshot(taken: { tenant: string; storedBytes: number; endedAt: string }): Step {
  const { tenant, storedBytes, endedAt } = taken;
  return { query: { sql: COUNT_SANDBOX_SNAPSHOT, parameters: [tenant, dayOf(endedAt), storedBytes] } };
}

/** The time of these sandboxes, those of them that are over. */
export function countEndedSandboxes(ids: readonly string[]): Step[] {
  const parameters = [JSON.stringify(ids)];
  return [{ query: { sql: COUNT_SANDBOXES, parameters } }, { query: { sql: SANDBOXES_COUNTED, parameters } }];
}

/** At a start: when a session that the server before left with its sandbox wrote last. */
export async function lastSign(store: Pick<Store, 'first'>): Promise<string | null> {
  const last = await store.first<{ time: string | null }>({ sql: LAST_SIGN, parameters: [] });
  return last?.time ?? null;
}

/**
 * Before they are ended: the time of sessions' sandboxes that the server before left, until its last sign. The time since
 * then is nobody's. `but`: these go on.
 */
export function countLostSandboxes(
  until: string | null,
  which: { but: readonly string[] } | { only: string },
): Step[] {
  const [[cut, ...counting], ids] =
    'only' in which ? [COUNT_LOST_ONE, which.only] : [COUNT_LOST_BUT, JSON.stringify(which.but)];
  return [
    { query: { sql: cut, parameters: [ids, until] } },
    ...counting.map((sql) => ({ query: { sql, parameters: [ids] } })),
  ];
}

/** Before a session's rows are erased: what it used stays in the sums of its days and its agent. */
export function keepUsage(session: Consumer, at: string): Step[] {
  const parameters = [session.id];
  return [
    ...countLog(session, at),
    { query: { sql: COUNT_SANDBOXES_OF, parameters } },
    { query: { sql: GIVE_UP, parameters } },
    { query: { sql: FORGET, parameters } },
  ];
}

export type TurnUsage = {
  modelRequests: number;
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens: number;
  cacheWriteTokens: number;
  costUsd: number;
};

/** What an executor told of a turn: nothing that is no number, below zero, or beyond all reason. */
export function boundedUsage(told: Readonly<Record<string, unknown>>): TurnUsage {
  const whole = (value: unknown) => Math.round(bounded(value, MAX_TOKENS));
  return {
    modelRequests: whole(told.turns),
    inputTokens: whole(told.inputTokens),
    outputTokens: whole(told.outputTokens),
    cacheReadTokens: whole(told.cacheReadTokens),
    cacheWriteTokens: whole(told.cacheCreationTokens),
    costUsd: bounded(told.costUsd, MAX_COST_USD),
  };
}

function bounded(value: unknown, max: number): number {
  return typeof value === 'number' && value > 0 ? Math.min(value, max) : 0;
}

function dayOf(time: string): string {
  return time.slice(0, 10);
}
