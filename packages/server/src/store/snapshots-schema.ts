/** Schema 4: snapshots. A row is written when its snapshot is over: one that is under way is in memory alone. */
export const snapshotsSchema = `
CREATE TABLE snapshots (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  session_id TEXT NOT NULL,
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  seq INTEGER NOT NULL CHECK (seq >= 0),
  status TEXT NOT NULL CHECK (status IN ('complete', 'failed')),
  root TEXT,
  cause TEXT,
  detail TEXT,
  files INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  stored_bytes INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  ended_at TEXT NOT NULL,
  CHECK ((status = 'complete') = (root IS NOT NULL))
) STRICT;
CREATE INDEX snapshots_by_session ON snapshots (session_id, seq, id);
`;
