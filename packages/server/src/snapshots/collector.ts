/**
 * Removes the blobs that no snapshot leads to: left by erased sessions, and by snapshots that failed. Beside snapshots
 * that are being taken this is safe because a blob is young from when it is put, or put again, and young ones stay; what
 * a snapshot takes over from the one before it is led to by that one's row.
 */
import { blobsOfSegment, decodeRoot } from '@atoll/protocol/snapshot-format';
import type { BlobStore } from '../blob-store/blob-store.ts';
import type { Store } from '../store/store.ts';

export type Collector = {
  /** Resolves with how many blobs it removed. Rejects when a snapshot cannot be read: nothing of that tenant is removed then. */
  collect(): Promise<number>;
};

/** Longer than any snapshot may take from its first blob to its row. */
const YOUNG_MS = 60 * 60_000;

export function createCollector(options: { store: Store; blobs: BlobStore; now: () => number }): Collector {
  const { store, blobs, now } = options;

  async function collectFor(tenant: string): Promise<number> {
    const before = now() - YOUNG_MS;
    const used = await mark(tenant);
    let removed = 0;
    for await (const { hash, putAtMs } of blobs.list(tenant)) {
      if (used.has(hash) || putAtMs >= before) continue;
      if (await blobs.delete(tenant, hash, { putBeforeMs: before })) removed++;
    }
    return removed;
  }

  async function mark(tenant: string): Promise<Set<string>> {
    const used = new Set<string>();
    const rootsOf = (table: 'snapshots' | 'sandbox_snapshots') =>
      store.sql.selectFrom(table).select('root').where('tenant', '=', tenant);
    for (const { root } of await store.all(rootsOf('snapshots').union(rootsOf('sandbox_snapshots')))) {
      if (root === null || used.has(root)) continue;
      used.add(root);
      const { segments } = decodeRoot(await blobs.get(tenant, root));
      for (const { hash } of segments) {
        if (used.has(hash)) continue;
        used.add(hash);
        for (const blob of blobsOfSegment(await blobs.get(tenant, hash))) used.add(blob);
      }
    }
    return used;
  }

  async function tenants(): Promise<string[]> {
    const { sql } = store;
    const query = sql
      .selectFrom('keys')
      .select('tenant')
      .union(sql.selectFrom('sessions').select('tenant'))
      .union(sql.selectFrom('snapshots').select('tenant'))
      .union(sql.selectFrom('sandbox_snapshots').select('tenant'));
    return (await store.all(query)).map(({ tenant }) => tenant);
  }

  return {
    async collect() {
      const counted = await Promise.allSettled((await tenants()).map(collectFor));
      const failed = counted.find((one) => one.status === 'rejected');
      if (failed) throw failed.reason;
      return counted.reduce((sum, one) => sum + (one.status === 'fulfilled' ? one.value : 0), 0);
    },
  };
}
