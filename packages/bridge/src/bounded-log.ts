/**
 * Keeps an executor's stderr from flooding the session's log: pieces of bounded size, a budget per turn, and one
 * line that says when the rest is dropped (I9).
 */
export type BoundedLog = {
  write(text: string): void;
  /** A new turn: a new budget. */
  reset(): void;
};

export type BoundedLogOptions = { maxBytesPerTurn?: number; maxPieceChars?: number };

export function createBoundedLog(
  send: (text: string) => void,
  { maxBytesPerTurn = 64 * 1024, maxPieceChars = 8 * 1024 }: BoundedLogOptions = {},
): BoundedLog {
  let leftBytes = maxBytesPerTurn;
  let full = false;

  function writePiece(piece: string): void {
    const bytes = Buffer.byteLength(piece);
    if (bytes <= leftBytes) {
      leftBytes -= bytes;
      send(piece);
      return;
    }
    full = true;
    send(
      `[atoll] the executor wrote more than ${maxBytesPerTurn} bytes to its log in this turn; the rest is dropped\n`,
    );
  }

  return {
    write(text) {
      for (let at = 0; at < text.length && !full; at += maxPieceChars)
        writePiece(text.slice(at, at + maxPieceChars).toWellFormed());
    },
    reset() {
      leftBytes = maxBytesPerTurn;
      full = false;
    },
  };
}
