/**
 * What was fetched of agent folders, so that the next sandbox of an agent does not fetch it again. By tenant and hash, so
 * it is never out of date (I12); bounded, and what was not asked for the longest goes first.
 */
import type { AgentSource } from '@atoll/protocol/runner-link';

const MAX_BYTES = 64 * 1024 * 1024;
/** What an entry costs beside its content. */
const ENTRY_BYTES = 256;

export function createAgentCache(source: AgentSource, maxBytes = MAX_BYTES): AgentSource {
  const manifests = createCache(source.manifest, maxBytes / 4, ({ files }) =>
    files.reduce((sum, { path }) => sum + path.length + ENTRY_BYTES, 0),
  );
  const files = createCache(source.file, maxBytes, ({ length }) => length);
  return { manifest: manifests, file: files };
}

type Blob = { tenant: string; hash: string };

/** Whoever asks while it is fetched gets the same one; a failure is not kept. */
function createCache<T>(
  fetch: (of: Blob) => Promise<T>,
  maxBytes: number,
  sizeOf: (content: T) => number,
): (of: Blob) => Promise<T> {
  const entries = new Map<string, { content: Promise<T>; bytes: number }>();
  let held = 0;

  function drop(key: string): void {
    held -= entries.get(key)?.bytes ?? 0;
    entries.delete(key);
  }

  return async ({ tenant, hash }) => {
    const key = `${tenant}/${hash}`;
    const known = entries.get(key);
    entries.delete(key);
    const entry = known ?? { content: fetch({ tenant, hash }), bytes: 0 };
    entries.set(key, entry);
    if (known) return known.content;
    try {
      const content = await entry.content;
      entry.bytes = ENTRY_BYTES + sizeOf(content);
      held += entry.bytes;
      for (const oldest of entries.keys()) {
        if (held <= maxBytes) break;
        drop(oldest);
      }
      return content;
    } catch (error) {
      if (entries.get(key) === entry) drop(key);
      throw error;
    }
  };
}
