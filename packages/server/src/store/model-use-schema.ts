/** Schema 4: what sessions with a budget have spent on models. Code of schema 3 does not count, and leaves it alone. */
export const modelUseSchema = `
CREATE TABLE model_use (
  session_id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  requests INTEGER NOT NULL CHECK (requests >= 0),
  tokens INTEGER NOT NULL CHECK (tokens >= 0)
) STRICT, WITHOUT ROWID;
`;
