/**
 * Memory for the lines under way to one host, used over and over: new memory for each chunk of a flood would cost its pages
 * every time, and V8 collects the old heap for it. First in, first out, as the channel takes them.
 */

/** More than a channel lets be under way (I9), so that there is nearly always room. */
const RING_BYTES = 4608 * 1024;
/** What is filled before it is sent: a part of the processor's own cache. */
const MOST_BYTES = 128 * 1024;
/** Less is not worth beginning. */
const LEAST_BYTES = 8 * 1024;

export type LineRing = {
  /** What may be filled; undefined while there is too little. */
  room(): Buffer | undefined;
  /** Of bytes that fill the beginning of the last room: they stay until they are released. False for any others. */
  keep(bytes: Buffer): boolean;
  /** Nobody looks any more at the oldest that was kept. */
  release(): void;
};

export function createLineRing(capacity = RING_BYTES): LineRing {
  let memory: Buffer | undefined;
  /** Where each part that was kept and not released ends; the oldest first. */
  const ends: number[] = [];
  /** Where the oldest begins, and where the next may. */
  let start = 0;
  let next = 0;

  /** Where the room that begins at `next` ends. Parts are never broken in two: what is left at the end stays empty. */
  function roomEnd(): number {
    if (ends.length === 0) {
      start = 0;
      next = 0;
      return capacity;
    }
    if (next <= start) return start;
    if (capacity - next >= LEAST_BYTES) return capacity;
    next = 0;
    return start;
  }

  return {
    room() {
      const end = roomEnd();
      if (end - next < LEAST_BYTES) return undefined;
      memory ??= Buffer.allocUnsafeSlow(capacity);
      return memory.subarray(next, Math.min(end, next + MOST_BYTES));
    },
    keep(bytes) {
      if (bytes.buffer !== memory?.buffer) return false;
      next += bytes.length;
      ends.push(next);
      return true;
    },
    release() {
      start = ends.shift() ?? start;
    },
  };
}
