/** Blobs of a snapshot as its files need them: a few are fetched ahead, and the latest are kept. */
export type GetBlob = (hash: string) => Promise<Uint8Array>;

export type BlobReader = {
  /** These will be needed, in this order. */
  expect(hashes: Iterable<string>): void;
  get(hash: string): Promise<Uint8Array>;
};

const AHEAD = 4;
const KEPT = 16;

export function createBlobReader(fetch: GetBlob): BlobReader {
  /** Fetched or on their way; in the order of their last use. */
  const held = new Map<string, Promise<Uint8Array>>();
  let expected: string[] = [];

  function hold(hash: string): Promise<Uint8Array> {
    const blob = held.get(hash) ?? fetch(hash);
    // Whoever gets it hears of its failure; until then nobody does.
    blob.catch(() => held.delete(hash));
    held.delete(hash);
    held.set(hash, blob);
    for (const oldest of held.keys()) {
      if (held.size <= KEPT) break;
      held.delete(oldest);
    }
    return blob;
  }

  return {
    expect(hashes) {
      expected = [...new Set(hashes)];
    },
    get(hash) {
      const at = expected.indexOf(hash);
      if (at >= 0) expected = expected.slice(at + 1);
      const blob = hold(hash);
      for (const next of expected.slice(0, AHEAD)) if (!held.has(next)) void hold(next);
      return blob;
    },
  };
}
