import type { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream';
import type { HostChannel } from '@atoll/server';

/** A host at the other end of two streams, or of one that goes both ways. */
export function channelOf(input: Readable, output: Writable): HostChannel {
  // Told to whoever writes next.
  output.on('error', () => undefined);
  return {
    input,
    write: (bytes) =>
      new Promise((resolve, reject) => {
        if (output.destroyed) return reject(new Error('the host is gone'));
        if (output.write(bytes)) return resolve();
        const settle = () => {
          output.off('drain', settle);
          stopWatching();
          if (output.destroyed) reject(new Error('the host is gone'));
          else resolve();
        };
        const stopWatching = finished(output, settle);
        output.on('drain', settle);
      }),
    close() {
      input.destroy();
      output.end();
    },
  };
}
