/** The latest durable chunks of a busy log, kept while somebody reads along, so that live readers need no disk. */
import { concatBytes } from '@atoll/protocol/lines';

/**
 * For whoever reads a little more slowly than is written: commits come two at a time, of half a megabyte each, and a reader
 * that has fallen behind costs the disk, a thread and the event loop more than one that keeps up.
 */
const TAIL_BYTES = 3 * 1024 * 1024;

export type TailChunk = {
  firstSeq: number;
  lastSeq: number;
  frames: Uint8Array;
  /** Every event in it is a message of the executor. */
  onlyMessages: boolean;
};

export type Tail = {
  push(chunk: TailChunk): void;
  /** The chunk that begins right after `seq`; undefined when the reader is behind or between chunks. */
  after(seq: number): TailChunk | undefined;
  /** Drops what everybody has read who is at `seq` or later. */
  forget(seq: number): void;
  clear(): void;
};

export function createTail(): Tail {
  let chunks: TailChunk[] = [];
  let bytes = 0;
  return {
    push(chunk) {
      chunks.push(chunk);
      bytes += chunk.frames.length;
      // The newest chunk always stays, whatever its size: readers that keep up are waiting for it.
      while (bytes > TAIL_BYTES && chunks.length > 1) bytes -= chunks.shift()?.frames.length ?? 0;
    },
    after: (seq) => chunks.find((chunk) => chunk.firstSeq === seq + 1),
    forget(seq) {
      while ((chunks[0]?.lastSeq ?? Number.POSITIVE_INFINITY) <= seq)
        bytes -= chunks.shift()?.frames.length ?? 0;
    },
    clear() {
      chunks = [];
      bytes = 0;
    },
  };
}

/** Small neighbours put together up to `maxBytes`, since a reader is sent one chunk at a time. */
export function joinSmall(group: readonly TailChunk[], maxBytes: number): TailChunk[] {
  const joined: TailChunk[] = [];
  let run: TailChunk[] = [];
  let bytes = 0;
  const endRun = () => {
    const [first] = run;
    const last = run.at(-1);
    if (!first || !last) return;
    const frames =
      run.length === 1
        ? first.frames
        : concatBytes(
            run.map((chunk) => chunk.frames),
            bytes,
          );
    const onlyMessages = run.every((chunk) => chunk.onlyMessages);
    joined.push({ firstSeq: first.firstSeq, lastSeq: last.lastSeq, frames, onlyMessages });
    run = [];
    bytes = 0;
  };
  for (const chunk of group) {
    if (bytes + chunk.frames.length > maxBytes) endRun();
    run.push(chunk);
    bytes += chunk.frames.length;
  }
  endRun();
  return joined;
}
