/**
 * The snapshots of sessions: taken on runners, kept in a blob store of their own, known by rows here. One exists when
 * its row is committed, and everything it is made of was stored before that; so a crash leaves blobs that nothing
 * leads to, and never half a snapshot.
 */
import { newId } from '@atoll/protocol/ids';
import type { SnapshotBlobs, SnapshotSource } from '@atoll/protocol/runner-link';
import type { BlobStore } from '../blob-store/blob-store.ts';
import type { Step, Store } from '../store/store.ts';
import type { SnapshotRow } from '../store/tables.ts';

/** A complete one. `sessionId` and `seq` say whose it is, which for a fork may be its parent's. */
export type Snapshot = SnapshotSource & { id: string; sessionId: string; seq: number };

export type Snapshots = {
  /**
   * The latest complete snapshot at or before that event; undefined: none, so the files
   * were the agent's folder. Of a fork it may be one of its parents'.
   */
  nearest(sessionId: string, seq: number): Promise<Snapshot | undefined>;
  /** Makes a new session begin from that snapshot. The commit fails with `not_found` when it is gone by then. */
  inherit(from: Snapshot, by: { sessionId: string; tenant: string }): Step;
  /** Forgets those of a session. */
  forget(sessionId: string): Step;
  /** What runners put content in, and get it from. */
  readonly blobs: SnapshotBlobs;
};

export function createSnapshots(options: { store: Store; blobs: BlobStore }): Snapshots {
  const { store, blobs } = options;
  const { sql } = store;
  async function nearest(sessionId: string, seq: number): Promise<Snapshot | undefined> {
    const row = await latestRow(sessionId, seq);
    if (row) return found(row);
    const parent = await parentOf(sessionId);
    return parent && nearest(parent.sessionId, Math.min(seq, parent.seq));
  }

  async function latestRow(
    sessionId: string,
    seq: number,
  ): Promise<(SnapshotRow & { root: string }) | undefined> {
    const query = sql
      .selectFrom('snapshots')
      .selectAll()
      .where('session_id', '=', sessionId)
      .where('seq', '<=', seq)
      .where('status', '=', 'complete')
      .$narrowType<{ root: string }>()
      .orderBy('seq', 'desc')
      .orderBy('id', 'desc')
      .limit(1);
    return store.first(query);
  }

  /** Where a fork left its parent. */
  async function parentOf(sessionId: string): Promise<{ sessionId: string; seq: number } | undefined> {
    const query = sql
      .selectFrom('sessions')
      .innerJoin('logs', 'logs.id', 'sessions.log_id')
      .innerJoin('logs as parents', 'parents.id', 'logs.parent_id')
      .select(['parents.session_id as sessionId', 'logs.parent_seq as seq'])
      .where('sessions.id', '=', sessionId);
    const parent = await store.first(query);
    return parent && { sessionId: parent.sessionId, seq: parent.seq ?? 0 };
  }

  function inherit(from: Snapshot, { sessionId, tenant }: { sessionId: string; tenant: string }): Step {
    const copied = ['tenant', 'seq', 'status', 'root', 'files', 'size_bytes', 'skipped'] as const;
    const times = ['created_at', 'ended_at'] as const;
    const query = sql
      .insertInto('snapshots')
      .columns(['id', 'session_id', 'epoch', 'stored_bytes', ...copied, ...times])
      .expression((build) =>
        build
          .selectFrom('snapshots')
          .select((row) => [
            row.val(newId('snapshot')).as('id'),
            row.val(sessionId).as('session_id'),
            // Its first assignment is epoch 1, and all that is written then is newer.
            row.lit(0).as('epoch'),
            row.lit(0).as('stored_bytes'),
          ])
          .select([...copied, ...times])
          .where('id', '=', from.id)
          .where('tenant', '=', tenant),
      );
    return { query, mustChange: { code: 'not_found', detail: `the snapshot ${from.id} is gone` } };
  }

  return {
    nearest,
    inherit,
    forget: (sessionId) => ({ query: sql.deleteFrom('snapshots').where('session_id', '=', sessionId) }),
    blobs: {
      put: ({ tenant, content }) => blobs.put(tenant, content),
      get: ({ tenant, hash }) => blobs.get(tenant, hash),
    },
  };
}

function found({ id, session_id, seq, root, epoch }: SnapshotRow & { root: string }): Snapshot {
  return { id, sessionId: session_id, seq, root, epoch };
}
