/**
 * Schema 6: forks, and what looks into the past needs.
 *
 * Forks name the session that they came from, which may be gone. A log that is erased while forks share it keeps its row and what they share (`erased`). Checkpoints are few: one for
 * every couple of thousand events. Sandboxes and the registrations of runners say from when to when they were there.
 */
export const forksSchema = `
ALTER TABLE sessions ADD COLUMN parent_id TEXT;
ALTER TABLE sessions ADD COLUMN parent_seq INTEGER;
ALTER TABLE sessions ADD COLUMN snapshot_seq INTEGER;
CREATE INDEX sessions_by_parent ON sessions (parent_id, id) WHERE parent_id IS NOT NULL;

ALTER TABLE logs ADD COLUMN erased INTEGER NOT NULL DEFAULT 0 CHECK (erased IN (0, 1));
CREATE INDEX logs_by_parent ON logs (parent_id, parent_seq) WHERE parent_id IS NOT NULL;

CREATE TABLE log_checkpoints (
  log_id TEXT NOT NULL,
  tenant TEXT NOT NULL,
  seq INTEGER NOT NULL CHECK (seq >= 0),
  state TEXT NOT NULL,
  PRIMARY KEY (log_id, seq)
) STRICT;

ALTER TABLE sandboxes ADD COLUMN ready_at TEXT;
CREATE INDEX sandboxes_by_end ON sandboxes (ended_at);

CREATE TABLE registrations (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  runner_id TEXT NOT NULL,
  hostname TEXT NOT NULL,
  capacity INTEGER NOT NULL CHECK (capacity >= 0),
  created_at TEXT NOT NULL,
  ended_at TEXT
) STRICT;
CREATE INDEX registrations_by_runner ON registrations (runner_id, id);
`;
