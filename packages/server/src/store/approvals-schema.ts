/** Schema 2: what agents ask of people. Few rows, written when somebody is asked; none of them by a turn without. */
export const approvalsSchema = `
CREATE TABLE approvals (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  session_id TEXT NOT NULL,
  turn_id TEXT NOT NULL,
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  status TEXT NOT NULL CHECK (status IN ('requested', 'resolved')),
  kind TEXT NOT NULL,
  tool TEXT NOT NULL,
  input TEXT NOT NULL,
  options TEXT NOT NULL,
  call_hash TEXT NOT NULL,
  decision TEXT,
  cause TEXT,
  spent INTEGER NOT NULL CHECK (spent IN (0, 1)),
  created_at TEXT NOT NULL,
  resolved_at TEXT
) STRICT;
CREATE INDEX approvals_by_session ON approvals (session_id, id);
`;
