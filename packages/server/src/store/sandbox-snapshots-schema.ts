/**
 * Schema 12: snapshots of bare sandboxes. A row is written when its snapshot is complete, in the commit that completes its
 * job; one that failed is told by its job alone. Older programs would not know what these rows lead to, and remove it.
 */
export const sandboxSnapshotsSchema = `
CREATE TABLE sandbox_snapshots (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  sandbox_id TEXT NOT NULL,
  root TEXT NOT NULL,
  files INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  stored_bytes INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX sandbox_snapshots_by_sandbox ON sandbox_snapshots (sandbox_id, id);

ALTER TABLE jobs ADD COLUMN snapshot_id TEXT;
`;
