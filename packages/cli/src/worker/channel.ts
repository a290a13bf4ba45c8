import type { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream';
import type { HostChannel } from '@atoll/server';

/**
 * What may be under way to the host before anything more is made for it (I9). A pipe takes 200 KB at a time, and only when
 * the host has read them: without a reserve, this process and its host would work by turns.
 */
const AHEAD_BYTES = 1024 * 1024;
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

  return {
    input,
    write: (bytes) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!output.destroyed && underWay >= AHEAD_BYTES) return;
          waiting.delete(look);
          if (output.destroyed) reject(new Error('the host is gone'));
          else resolve();
        };
        if (output.destroyed) return look();
        underWay += bytes.length;
        output.write(bytes, () => {
          underWay -= bytes.length;
          wake();
        });
        waiting.add(look);
        look();
      }),
    close() {
      input.destroy();
      output.end();
      setTimeout(() => output.destroy(), LAST_WORDS_MS).unref();
    },
  };
}
