/**
 * Takes a secret's literal out of a reply, even where it is cut across chunks (I7). Holds back at most as many bytes as
 * could be the beginning of the secret, so that a stream stays a stream.
 */
import { Transform } from 'node:stream';

const MASK = '[removed by Atoll]';

export type Scrubber = {
  stream: Transform;
  headers(headers: Record<string, string | string[]>): Record<string, string | string[]>;
};

export function createScrubber(secret: string): Scrubber {
  const needle = Buffer.from(secret);
  let held: Buffer = Buffer.alloc(0);

  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const all = replaceAll(held.length === 0 ? chunk : Buffer.concat([held, chunk]), needle);
      const keep = overlap(all, needle);
      held = all.subarray(all.length - keep);
      done(null, all.subarray(0, all.length - keep));
    },
    flush(done) {
      done(null, held);
    },
  });

  const clean = (value: string) => value.replaceAll(secret, MASK);
  return {
    stream,
    headers: (headers) =>
      Object.fromEntries(
        Object.entries(headers).map(([name, value]) => [
          name,
          Array.isArray(value) ? value.map(clean) : clean(value),
        ]),
      ),
  };
}

function replaceAll(bytes: Buffer, needle: Buffer): Buffer {
  if (!bytes.includes(needle)) return bytes;
  return Buffer.from(bytes.toString('latin1').replaceAll(needle.toString('latin1'), MASK), 'latin1');
}

/** How many bytes at the end could be the beginning of the needle. */
function overlap(bytes: Buffer, needle: Buffer): number {
  for (let length = Math.min(needle.length - 1, bytes.length); length > 0; length--) {
    if (bytes.subarray(bytes.length - length).equals(needle.subarray(0, length))) return length;
  }
  return 0;
}
