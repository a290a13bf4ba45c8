/** The lines of a peer, cut out of what comes in. A line too long is told and skipped: the next one counts again. */
import { createLineBlocks, LineTooLong, linesOf, MAX_LINE_BYTES } from './lines.ts';

const LF = 0x0a;

export type LinesIn = {
  /** Calls back for each line that the chunk closes. */
  push(chunk: Uint8Array): void;
};

export function createLinesIn(options: {
  onLine: (line: Uint8Array) => void;
  onTooLong: () => void;
  maxLineBytes?: number;
}): LinesIn {
  const { onLine, onTooLong, maxLineBytes = MAX_LINE_BYTES } = options;
  let blocks = createLineBlocks(maxLineBytes);
  let skipping = false;

  function take(chunk: Uint8Array): void {
    for (const block of blocks.push(chunk)) for (const line of linesOf(block)) onLine(line);
  }

  function push(chunk: Uint8Array): void {
    if (skipping) {
      const end = chunk.indexOf(LF);
      if (end === -1) return;
      skipping = false;
      return push(chunk.subarray(end + 1));
    }
    try {
      take(chunk);
    } catch (error) {
      if (!(error instanceof LineTooLong)) throw error;
      blocks = createLineBlocks(maxLineBytes);
      skipping = true;
      onTooLong();
      // The line that was too long is the first of the chunk: any other began in it, and no chunk is that large.
      push(chunk);
    }
  }

  return { push };
}
