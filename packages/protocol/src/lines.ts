/**
 * Line framing on bytes: one message per line, ended by LF, whatever the chunk borders. Used on every wire that
 * speaks lines (bridge, worker, a program's stdio).
 */

/** Longest line of any line protocol here: 32 MiB. */
export const MAX_LINE_BYTES = 32 * 1024 * 1024;

const LF = 0x0a;

export class LineTooLong extends Error {
  override readonly name = 'LineTooLong';
}

export type LineBlocks = {
  /**
   * Takes a chunk and returns the complete lines it closes, as blocks that end with LF: none, the line that began in
   * an earlier chunk, the lines that are whole in this one, or both. A block may alias the chunk: use it before the
   * chunk is reused. Throws LineTooLong when a line outgrows the limit; the framing is then unusable.
   */
  push(chunk: Uint8Array): Uint8Array[];
  /** The bytes of an unfinished last line, if any. */
  rest(): Uint8Array;
};

/**
 * Cuts a byte stream into blocks of whole lines. Blocks rather than lines, since a busy stream closes hundreds of
 * lines per chunk and the hot path handles them together.
 */
export function createLineBlocks(maxLineBytes: number = MAX_LINE_BYTES): LineBlocks {
  let held = new Uint8Array(0);
  let heldBytes = 0;

  /** Into one growing buffer: a piece kept as it came would cost far more than its bytes when it has only one. */
  const hold = (bytes: Uint8Array) => {
    const total = heldBytes + bytes.length;
    if (total > maxLineBytes) throw new LineTooLong(`a line is longer than ${maxLineBytes} bytes`);
    if (total > held.length) {
      const grown = new Uint8Array(Math.min(maxLineBytes, Math.max(total, 2 * held.length)));
      grown.set(held.subarray(0, heldBytes));
      held = grown;
    }
    held.set(bytes, heldBytes);
    heldBytes = total;
  };

  return {
    push(chunk) {
      const end = chunk.lastIndexOf(LF) + 1;
      if (end === 0) {
        hold(chunk);
        return [];
      }
      const first = chunk.indexOf(LF) + 1;
      if (heldBytes + first - 1 > maxLineBytes)
        throw new LineTooLong(`a line is longer than ${maxLineBytes} bytes`);
      const blocks: Uint8Array[] = [];
      const whole = heldBytes === 0 ? 0 : first;
      if (whole > 0)
        blocks.push(concatBytes([held.subarray(0, heldBytes), chunk.subarray(0, whole)], heldBytes + whole));
      if (whole < end) blocks.push(chunk.subarray(whole, end));
      held = new Uint8Array(0);
      heldBytes = 0;
      if (end < chunk.length) hold(chunk.subarray(end));
      return blocks;
    },
    rest: () => held.slice(0, heldBytes),
  };
}

/** The lines of a block, without their LF. Views, not copies. */
export function* linesOf(block: Uint8Array): Generator<Uint8Array> {
  let start = 0;
  while (start < block.length) {
    const end = block.indexOf(LF, start);
    if (end === -1) {
      yield block.subarray(start);
      return;
    }
    yield block.subarray(start, end);
    start = end + 1;
  }
}

export function concatBytes(parts: readonly Uint8Array[], totalBytes?: number): Uint8Array<ArrayBuffer> {
  const total = totalBytes ?? parts.reduce((sum, part) => sum + part.length, 0);
  const all = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
