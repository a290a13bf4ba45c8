/**
 * Schema 1: the tables of tables.ts. Ids sort by creation, so a page of a list is a range of ids and an index that
 * ends in the id serves it in both directions. Rows with a short primary key and few bytes are kept in its tree
 * (WITHOUT ROWID); wide ones, and chunks with their big blobs, are not: there it measured a third slower.
 *
 * Every index is there for a query, and each one that a turn changes puts another page or two into every commit, a
 * partial one too, when only its condition names what changes. So turns are found by their session alone, and who asks
 * for a status knows the tenant or the session and looks at their rows. Only the start of a server must not look at all
 * sessions: what a crash left at work has a sandbox that never ended.
 */
export const firstSchema = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('admin', 'client', 'runner')),
  name TEXT,
  hash TEXT NOT NULL UNIQUE,
  created_at TEXT NOT NULL,
  expires_at TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_tenant ON keys (tenant, id);

CREATE TABLE agents (
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE agent_versions (
  tenant TEXT NOT NULL,
  agent TEXT NOT NULL,
  version INTEGER NOT NULL CHECK (version >= 1),
  hash TEXT NOT NULL,
  manifest_hash TEXT NOT NULL,
  settings TEXT NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (tenant, agent, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  agent TEXT NOT NULL,
  agent_version INTEGER NOT NULL,
  status TEXT NOT NULL,
  cause TEXT,
  detail TEXT,
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  runner_id TEXT,
  sandbox_id TEXT,
  log_id TEXT NOT NULL,
  settings TEXT NOT NULL,
  metadata TEXT NOT NULL,
  usage TEXT NOT NULL,
  binding TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  ended_at TEXT
) STRICT;
CREATE INDEX sessions_by_tenant ON sessions (tenant, id);
CREATE INDEX sessions_by_agent ON sessions (tenant, agent, id);

CREATE TABLE turns (
  id TEXT NOT NULL,
  tenant TEXT NOT NULL,
  session_id TEXT NOT NULL,
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  status TEXT NOT NULL,
  cause TEXT,
  detail TEXT,
  input_seq INTEGER NOT NULL,
  start_seq INTEGER,
  done_seq INTEGER,
  usage TEXT,
  idempotency_key TEXT,
  request_hash TEXT,
  created_at TEXT NOT NULL,
  ended_at TEXT,
  PRIMARY KEY (session_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX turns_by_idempotency_key ON turns (session_id, idempotency_key)
  WHERE idempotency_key IS NOT NULL;

CREATE TABLE sandboxes (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  session_id TEXT,
  runner_id TEXT NOT NULL,
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  status TEXT NOT NULL,
  cause TEXT,
  detail TEXT,
  created_at TEXT NOT NULL,
  ended_at TEXT
) STRICT;
CREATE INDEX sandboxes_by_session ON sandboxes (session_id, id) WHERE session_id IS NOT NULL;
CREATE INDEX sandboxes_not_ended ON sandboxes (id) WHERE ended_at IS NULL;

CREATE TABLE jobs (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  type TEXT NOT NULL CHECK (type IN ('create', 'delete', 'snapshot', 'restore')),
  sandbox_id TEXT NOT NULL,
  session_id TEXT,
  runner_id TEXT,
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  status TEXT NOT NULL,
  attempts INTEGER NOT NULL CHECK (attempts >= 0),
  cause TEXT,
  detail TEXT,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX jobs_by_session ON jobs (session_id, id) WHERE session_id IS NOT NULL;

CREATE TABLE runners (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  hostname TEXT NOT NULL,
  address TEXT NOT NULL,
  link TEXT NOT NULL CHECK (link IN ('local', 'http', 'grpc')),
  status TEXT NOT NULL,
  registration_id TEXT NOT NULL,
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  capacity INTEGER NOT NULL CHECK (capacity >= 0),
  reserved INTEGER NOT NULL CHECK (reserved >= 0),
  labels TEXT NOT NULL,
  executor_profiles TEXT NOT NULL,
  drivers TEXT NOT NULL,
  version TEXT NOT NULL,
  lease_until TEXT,
  created_at TEXT NOT NULL
) STRICT;

CREATE TABLE logs (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  session_id TEXT NOT NULL,
  parent_id TEXT,
  parent_seq INTEGER,
  last_seq INTEGER NOT NULL CHECK (last_seq >= 0),
  line INTEGER NOT NULL CHECK (line >= 0),
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  created_at TEXT NOT NULL,
  CHECK ((parent_id IS NULL) = (parent_seq IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE log_chunks (
  log_id TEXT NOT NULL,
  tenant TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  first_seq INTEGER NOT NULL CHECK (first_seq >= 1),
  last_seq INTEGER NOT NULL,
  time TEXT NOT NULL,
  frames BLOB NOT NULL,
  PRIMARY KEY (log_id, first_seq),
  CHECK (last_seq >= first_seq)
) STRICT;
`;
