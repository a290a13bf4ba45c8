import type { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream';
import type { HostChannel } from '@atoll/server';

/**
 * What may be under way to the host before anything more is made for it (I9): as much as the kernel holds for a client over
 * TCP. A pipe takes little at a time, and only when the host has read it: without a reserve, this process and its host
 * would work by turns, and after each pause of the host's the log would be read from disk.
 */
const AHEAD_BYTES = 4 * 1024 * 1024;
/** What Linux takes at a time. */
const PIPE_BYTES = 200 * 1024;
/** For what is under way when the channel is closed; a host that does not read it then will not. */
const LAST_WORDS_MS = 1000;

/** A host at the other end of two streams, or of one that goes both ways. */
export function channelOf(input: Readable, output: Writable): HostChannel {
  const waiting = new Set<() => void>();
  let underWay = 0;
  // Told to whoever writes next.
  output.on('error', () => undefined);
  const wake = () => {
    for (const look of waiting) look();
  };
  finished(output, wake);

  /** What is written without waiting in between leaves together, up to a pipe full: each write may wake the host. */
  function put(bytes: Uint8Array, onWritten: () => void): void {
    if (output.writableCorked === 0) {
      output.cork();
      process.nextTick(() => output.uncork());
    }
    output.write(bytes, onWritten);
    if (output.writableLength >= PIPE_BYTES) output.uncork();
  }

  return {
    input,
    write: (bytes, onTaken) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!output.destroyed && underWay >= AHEAD_BYTES) return;
          waiting.delete(look);
          if (output.destroyed) reject(new Error('the host is gone'));
          else resolve();
        };
        if (output.destroyed) return look();
        underWay += bytes.length;
        put(bytes, () => {
          underWay -= bytes.length;
          onTaken?.();
          wake();
        });
        waiting.add(look);
        look();
      }),
    close() {
      // Both may be one stream, which takes nothing any more then.
      output.uncork();
      input.destroy();
      output.end();
      setTimeout(() => output.destroy(), LAST_WORDS_MS).unref();
    },
  };
}
