/** Bytes of a file exactly as many as were announced: a sandbox may write to it, or cut it, while it is read. */
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { AtollError } from '@atoll/protocol/errors';

const CHUNK_BYTES = 64 * 1024;

/** Closes the handle at its end. What grew is not read; an error when the file ends before `end`. */
export function readExactly(handle: FileHandle, { start, end }: { start: number; end: number }): Readable {
  let at = start;

  async function next(): Promise<Uint8Array | null> {
    const length = Math.min(CHUNK_BYTES, end - at);
    if (length === 0) return null;
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(length), 0, length, at);
    if (bytesRead === 0) throw new AtollError('not_a_file', 'The file became shorter while it was read.');
    at += bytesRead;
    return buffer.subarray(0, bytesRead);
  }

  return new Readable({
    highWaterMark: CHUNK_BYTES,
    read() {
      next().then(
        (bytes) => this.push(bytes),
        (error: Error) => this.destroy(error),
      );
    },
    destroy(error, done) {
      handle.close().then(
        () => done(error),
        (failed: Error) => done(error ?? failed),
      );
    },
  });
}
