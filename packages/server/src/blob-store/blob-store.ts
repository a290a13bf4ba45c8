/**
 * Immutable bytes by the SHA-256 (hex) of their content, apart for each tenant (I12). Implementations:
 * `directory.ts`; one contract suite, `blob-store.contract.ts`.
 */
export type BlobStore = {
  /** Stores and returns the hash. Durable when it resolves; the same bytes again cost nothing. */
  put(tenant: string, content: Uint8Array): Promise<string>;
  /** Rejects with `not_found`; verifies the hash and rejects with `storage_failed` when the bytes rotted. */
  get(tenant: string, hash: string): Promise<Uint8Array>;
  has(tenant: string, hash: string): Promise<boolean>;
  delete(tenant: string, hash: string): Promise<void>;
};
