/**
 * Schema 8: sandboxes without a session, which wait for a place before they have a runner. Few as they are, their jobs
 * have an index of their own; those of sessions are found by session.
 */
export const bareSandboxesSchema = `
CREATE TABLE sandboxes_8 (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  session_id TEXT,
  runner_id TEXT,
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  status TEXT NOT NULL,
  cause TEXT,
  detail TEXT,
  created_at TEXT NOT NULL,
  ended_at TEXT,
  ready_at TEXT,
  name TEXT,
  request TEXT
) STRICT;
INSERT INTO sandboxes_8 SELECT *, NULL, NULL FROM sandboxes;
DROP TABLE sandboxes;
ALTER TABLE sandboxes_8 RENAME TO sandboxes;
CREATE INDEX sandboxes_by_session ON sandboxes (session_id, id) WHERE session_id IS NOT NULL;
CREATE INDEX sandboxes_not_ended ON sandboxes (id) WHERE ended_at IS NULL;
CREATE INDEX sandboxes_by_end ON sandboxes (ended_at);
CREATE INDEX sandboxes_by_tenant ON sandboxes (tenant, id);

CREATE INDEX jobs_by_tenant ON jobs (tenant, id);
CREATE INDEX jobs_of_bare ON jobs (sandbox_id, id) WHERE session_id IS NULL;
`;
