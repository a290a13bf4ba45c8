/** The latest durable chunks of a busy log, kept while somebody reads along, so that live readers need no disk. */

const TAIL_BYTES = 1024 * 1024;

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
    clear() {
      chunks = [];
      bytes = 0;
    },
  };
}
