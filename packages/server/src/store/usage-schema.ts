/**
 * Schema 9: what was used, added up by day, agent and session. A turn adds to one row in the commit of its `done`, so
 * nothing has to look at turns or logs to answer. Rows of sessions that are gone are those of the session ''; a bill does
 * not shrink when a log is erased.
 *
 * `logs.bytes` is all that was ever appended to a log, `counted_bytes` what of it stands in `usage_days`. The time of a
 * sandbox is counted when it is over (`counted`); until then it is worked out when somebody asks.
 */
export const usageSchema = `
CREATE TABLE usage_days (
  tenant TEXT NOT NULL,
  day TEXT NOT NULL,
  agent TEXT NOT NULL,
  session_id TEXT NOT NULL,
  turns INTEGER NOT NULL DEFAULT 0,
  model_requests INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  cache_read_tokens INTEGER NOT NULL DEFAULT 0,
  cache_write_tokens INTEGER NOT NULL DEFAULT 0,
  cost_usd REAL NOT NULL DEFAULT 0,
  sandbox_seconds REAL NOT NULL DEFAULT 0,
  log_bytes INTEGER NOT NULL DEFAULT 0,
  snapshot_bytes INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, day, agent, session_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_days_by_session ON usage_days (session_id, day);

ALTER TABLE logs ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0 CHECK (bytes >= 0);
ALTER TABLE logs ADD COLUMN counted_bytes INTEGER NOT NULL DEFAULT 0;

ALTER TABLE sandboxes ADD COLUMN counted INTEGER NOT NULL DEFAULT 0 CHECK (counted IN (0, 1));
CREATE INDEX sandboxes_uncounted ON sandboxes (id) WHERE counted = 0;

-- What was used before. Of logs only their size on disk is known.
UPDATE logs SET bytes =
  coalesce((SELECT sum(length(frames)) FROM log_chunks WHERE log_id = logs.id), 0);
INSERT INTO usage_days (tenant, day, agent, session_id, turns, model_requests, input_tokens, output_tokens,
    cache_read_tokens, cache_write_tokens, cost_usd)
  SELECT turns.tenant, substr(turns.ended_at, 1, 10), agent, session_id, count(*),
    sum(CAST(coalesce(turns.usage ->> 'turns', 0) AS INTEGER)),
    sum(CAST(coalesce(turns.usage ->> 'inputTokens', 0) AS INTEGER)),
    sum(CAST(coalesce(turns.usage ->> 'outputTokens', 0) AS INTEGER)),
    sum(CAST(coalesce(turns.usage ->> 'cacheReadTokens', 0) AS INTEGER)),
    sum(CAST(coalesce(turns.usage ->> 'cacheCreationTokens', 0) AS INTEGER)),
    sum(CAST(coalesce(turns.usage ->> 'costUsd', 0) AS REAL))
  FROM turns JOIN sessions ON sessions.id = session_id
  WHERE turns.ended_at IS NOT NULL
  GROUP BY 1, 2, 3, 4;
INSERT INTO usage_days (tenant, day, agent, session_id, snapshot_bytes)
  SELECT snapshots.tenant, substr(snapshots.ended_at, 1, 10), agent, session_id, sum(stored_bytes)
  FROM snapshots JOIN sessions ON sessions.id = session_id
  WHERE stored_bytes > 0
  GROUP BY 1, 2, 3, 4
  ON CONFLICT (tenant, day, agent, session_id) DO UPDATE SET snapshot_bytes = excluded.snapshot_bytes;
`;
