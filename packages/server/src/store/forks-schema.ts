/**
 * Schema 4: forks, and what looks into the past needs.
 *
 * A log that is erased while forks share it keeps its row and what they share (`erased`). Checkpoints are few: one for
 * every couple of thousand events.
 */
export const forksSchema = `
ALTER TABLE logs ADD COLUMN erased INTEGER NOT NULL DEFAULT 0 CHECK (erased IN (0, 1));
CREATE INDEX logs_by_parent ON logs (parent_id, parent_seq) WHERE parent_id IS NOT NULL;

CREATE TABLE log_checkpoints (
  log_id TEXT NOT NULL,
  tenant TEXT NOT NULL,
  seq INTEGER NOT NULL CHECK (seq >= 0),
  state TEXT NOT NULL,
  PRIMARY KEY (log_id, seq)
) STRICT;
`;
