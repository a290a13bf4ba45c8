/** The snapshots of bare sandboxes: rows that outlive their sandbox, until they are deleted or its own row is. */
import { AtollError } from '@atoll/protocol/errors';
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import type { TakenSnapshot } from '@atoll/protocol/runner-link';
import { id } from '@atoll/protocol/schemas/common';
import type { SandboxSnapshot } from '@atoll/protocol/schemas/snapshot';
import { cursorAt, paged } from '../store/cursor.ts';
import type { Step, Store } from '../store/store.ts';
import type { JobRow, SandboxSnapshotRow } from '../store/tables.ts';
import { countSandboxSnapshot } from '../usage/counting.ts';

export type SandboxSnapshots = {
  /** The latest of a sandbox: what is in it need not be stored again. */
  latestRoot(sandboxId: string): Promise<string | null>;
  /** What the job took, under the id that the job was made with. */
  taken(job: JobRow, taken: TakenSnapshot): Step[];
  find(snapshotId: string): Promise<SandboxSnapshotRow | undefined>;
  /** Of a tenant's. Rejects with `not_found` (I12). */
  rootOf(snapshotId: string, tenant: string): Promise<string>;
  list(params: OperationParams<'sandbox.snapshots.list'>): Promise<OperationResult<'sandbox.snapshots.list'>>;
  /** Rejects with `not_found`. */
  remove(params: OperationParams<'sandbox.snapshots.delete'>): Promise<SandboxSnapshot>;
};

export function createSandboxSnapshots({
  store,
  now,
}: {
  store: Store;
  now: () => number;
}): SandboxSnapshots {
  const { sql } = store;
  const rows = sql.selectFrom('sandbox_snapshots').selectAll();

  const find = (snapshotId: string) => store.first(rows.where('id', '=', snapshotId));

  async function list({ sandboxId, limit, cursor }: OperationParams<'sandbox.snapshots.list'>) {
    let query = rows
      .where('sandbox_id', '=', sandboxId)
      .orderBy('id')
      .limit(limit + 1);
    if (cursor !== undefined) query = query.where('id', '>', cursorAt(id('snapshot'), cursor));
    const { page, nextCursor } = paged(await store.all(query), limit, ({ id }) => id);
    return { snapshots: page.map(showSandboxSnapshot), nextCursor };
  }

  return {
    find,
    list,
    async latestRoot(sandboxId) {
      const latest = rows.where('sandbox_id', '=', sandboxId).orderBy('id', 'desc').limit(1);
      return (await store.first(latest))?.root ?? null;
    },
    taken({ snapshot_id: id, tenant, sandbox_id }, { root, files, sizeBytes, storedBytes, skipped }) {
      if (id === null) throw new AtollError('internal', 'a snapshot has no id');
      const created_at = new Date(now()).toISOString();
      const sizes = { files, size_bytes: sizeBytes, stored_bytes: storedBytes, skipped: skipped.count };
      const row: SandboxSnapshotRow = { id, tenant, sandbox_id, root, ...sizes, created_at };
      const insert = sql.insertInto('sandbox_snapshots').values(row);
      return [{ query: insert }, countSandboxSnapshot({ tenant, storedBytes, endedAt: created_at })];
    },
    async rootOf(snapshotId, tenant) {
      const row = await find(snapshotId);
      if (row?.tenant !== tenant) throw new AtollError('not_found', `no snapshot ${snapshotId} of a sandbox`);
      return row.root;
    },
    async remove({ sandboxId, snapshotId }) {
      const row = await find(snapshotId);
      if (row?.sandbox_id !== sandboxId)
        throw new AtollError('not_found', `sandbox ${sandboxId} has no snapshot ${snapshotId}`);
      await store.commit([{ query: sql.deleteFrom('sandbox_snapshots').where('id', '=', snapshotId) }]);
      return showSandboxSnapshot(row);
    },
  };
}

export function showSandboxSnapshot(row: SandboxSnapshotRow): SandboxSnapshot {
  const sizes = { files: row.files, sizeBytes: row.size_bytes, storedBytes: row.stored_bytes };
  const { id, sandbox_id: sandboxId, skipped, created_at: createdAt } = row;
  return { id, sandboxId, ...sizes, skipped, createdAt };
}
