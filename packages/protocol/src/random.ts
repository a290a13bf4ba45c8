/** Strong random bytes, drawn from the system many at a time: a call for a few costs as much as one for a thousand. */

const POOL_BYTES = 1024;

let pool = new Uint8Array(0);
let used = 0;

/** Fills and returns the array. No byte is given out twice. */
export function fillRandom(bytes: Uint8Array): Uint8Array {
  if (bytes.length > POOL_BYTES) throw new RangeError(`no more than ${POOL_BYTES} bytes at once`);
  if (used + bytes.length > pool.length) {
    pool = globalThis.crypto.getRandomValues(new Uint8Array(POOL_BYTES));
    used = 0;
  }
  bytes.set(pool.subarray(used, used + bytes.length));
  pool.fill(0, used, used + bytes.length);
  used += bytes.length;
  return bytes;
}
