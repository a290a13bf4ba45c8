/**
 * Bytes on their way to another thread, in memory that both see: written once, never allocated again. Bytes that move
 * with `postMessage` are memory of their own each time, and V8 collects all of its garbage again and again for them.
 *
 * First in, first out: whoever reads is done with the oldest bytes first.
 */
export type ByteRing = {
  /** The pieces as one view of shared memory, to be released later; undefined while there is no room for them. */
  put(pieces: readonly Uint8Array[]): Uint8Array | undefined;
  /** Gives back the oldest bytes that are not released yet. */
  release(): void;
};

export function createByteRing(capacity: number): ByteRing {
  const memory = new Uint8Array(new SharedArrayBuffer(capacity));
  /** Where each view that is not released yet ends; the oldest first. */
  const ends: number[] = [];
  /** Where the oldest begins, and where the next may. */
  let start = 0;
  let next = 0;

  /** A view is never broken in two: what does not fit before the end of the memory begins at its start. */
  function placeFor(bytes: number): number | undefined {
    if (ends.length === 0) return bytes <= capacity ? 0 : undefined;
    if (next <= start) return next + bytes <= start ? next : undefined;
    if (next + bytes <= capacity) return next;
    return bytes <= start ? 0 : undefined;
  }

  return {
    put(pieces) {
      const at = placeFor(pieces.reduce((sum, { length }) => sum + length, 0));
      if (at === undefined) return undefined;
      if (ends.length === 0) start = 0;
      next = at;
      for (const piece of pieces) {
        memory.set(piece, next);
        next += piece.length;
      }
      ends.push(next);
      return memory.subarray(at, next);
    },
    release() {
      start = ends.shift() ?? start;
    },
  };
}
