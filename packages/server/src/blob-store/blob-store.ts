/**
 * Immutable bytes by the SHA-256 (hex) of their content, apart for each tenant (I12). Implementations:
 * `directory.ts`; one contract suite, `blob-store.contract.ts`.
 */
export type BlobStore = {
  /** Stores and returns the hash. Durable when it resolves; the same bytes again only make the blob young again. */
  put(tenant: string, content: Uint8Array): Promise<string>;
  /** Rejects with `not_found`; verifies the hash and rejects with `storage_failed` when the bytes rotted. */
  get(tenant: string, hash: string): Promise<Uint8Array>;
  has(tenant: string, hash: string): Promise<boolean>;
  /** Not when it was put at that time or later. Whether it was there and is gone. */
  delete(tenant: string, hash: string, options?: { putBeforeMs: number }): Promise<boolean>;
  /** Every blob, with the time when it was last put; in no order. What is put meanwhile may be missing. */
  list(tenant: string): AsyncIterable<{ hash: string; putAtMs: number }>;
};
