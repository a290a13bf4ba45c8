/** Content of snapshots at a coordinator elsewhere, whatever the wire: named by its hash there, and verified here. */
import { createHash } from 'node:crypto';
import { AtollError } from '@atoll/protocol/errors';
import type { SnapshotBlobs } from '@atoll/protocol/runner-link';

type Blob = { tenant: string; hash: string };

/** `put` rejects unless what it stored has that hash. */
export function createSnapshotBlobs(wire: {
  put(blob: Blob, content: Uint8Array): Promise<unknown>;
  get(blob: Blob): Promise<Uint8Array>;
}): SnapshotBlobs {
  return {
    async put({ tenant, content }) {
      const hash = sha256(content);
      await wire.put({ tenant, hash }, content);
      return hash;
    },
    async get({ tenant, hash }) {
      const content = await wire.get({ tenant, hash });
      if (sha256(content) === hash) return content;
      throw new AtollError('storage_failed', `blob ${hash} is not what was stored`);
    },
  };
}

function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
