/**
 * From a socket that is about to be dialled into one that is there, through one buffer: half the work of two streams
 * joined by a pipe, which allocate for every read.
 */
import type { OnReadOpts, Socket } from 'node:net';

export type Pump = {
  /** For the socket as it is made. */
  readonly onread: OnReadOpts;
  /** That socket: what it reads goes on, one read at a time, until it has said all. */
  start(from: Socket): void;
};

/** Writes what was read, and says whether the buffer is free for the next read. */
export type Relay = (part: Uint8Array) => boolean;

/** What one read takes at most; memory that nothing was read into is not used. */
export const BUFFER_BYTES = 512 * 1024;

/** `source`: who waits while the buffer is not free; undefined when nothing more is wanted of it. */
export function createRelay(to: Socket, source: () => Socket | undefined): Relay {
  let waiting = false;

  function written(): void {
    if (!waiting) return;
    waiting = false;
    source()?.resume();
  }

  return (part) => {
    to.write(part, written);
    // The buffer is not free before all of it is written (I9).
    waiting = to.writableLength > 0;
    return !waiting;
  };
}

export function createPump(to: Socket): Pump {
  let source: Socket | undefined;
  const relay = createRelay(to, () => source);
  return {
    onread: {
      buffer: Buffer.allocUnsafeSlow(BUFFER_BYTES),
      callback: (bytes, buffer) => relay(buffer.subarray(0, bytes)),
    },
    start(from) {
      source = from;
      from.on('end', () => to.end());
    },
  };
}
