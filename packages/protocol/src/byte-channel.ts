/**
 * One of many byte streams over one connection. Each has a window of its own: who sends may have so much under way that
 * was not taken yet, so a reader that is slow holds up nobody else, and nothing grows (I9).
 */
import { type AtollError, asAtollError } from './errors.ts';

export const WINDOW_BYTES = 256 * 1024;
export const PIECE_BYTES = 64 * 1024;

export type Piece = { bytes: Uint8Array; last: boolean; error?: AtollError };

export type ByteChannel = {
  /** Sends all of it in pieces, each when there is room. Rejects when the channel broke. */
  send(content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void>;
  /** What arrived, once; room is given back for what was taken. Rejects as the other side ended it, or when it broke. */
  readonly received: AsyncIterable<Uint8Array>;
  /** From the connection. Returns false when the other side sent more than its window. */
  onPiece(piece: Piece): boolean;
  onWindow(bytes: number): void;
  /** The connection is gone, or nobody wants it any more. */
  break(error: AtollError): void;
};

export function createByteChannel(wire: {
  piece: (piece: Piece) => Promise<void> | void;
  window: (bytes: number) => void;
}): ByteChannel {
  let room = WINDOW_BYTES;
  let arrived: Uint8Array[] = [];
  let waitingBytes = 0;
  let over = false;
  let broken: AtollError | undefined;
  let changed = Promise.withResolvers<void>();

  function wake(): void {
    changed.resolve();
    changed = Promise.withResolvers<void>();
  }

  async function sendBytes(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      while (room <= 0 && !broken) await changed.promise;
      if (broken) throw broken;
      const piece = bytes.subarray(at, at + Math.min(PIECE_BYTES, room));
      room -= piece.length;
      at += piece.length;
      await wire.piece({ bytes: piece, last: false });
    }
  }

  async function* take(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const next = arrived.shift();
      if (next) {
        waitingBytes -= next.length;
        wire.window(next.length);
        yield next;
      } else if (broken) throw broken;
      else if (over) return;
      else await changed.promise;
    }
  }

  return {
    async send(content) {
      try {
        for await (const bytes of content) await sendBytes(bytes);
      } catch (error) {
        if (!broken) await wire.piece({ bytes: new Uint8Array(0), last: true, error: asAtollError(error) });
        throw error;
      }
      await wire.piece({ bytes: new Uint8Array(0), last: true });
    },
    received: take(),
    onPiece({ bytes, last, error }) {
      if (over || broken) return true;
      waitingBytes += bytes.length;
      if (waitingBytes > WINDOW_BYTES) return false;
      if (bytes.length > 0) arrived.push(bytes);
      if (last && error) broken = error;
      over ||= last;
      wake();
      return true;
    },
    onWindow(bytes) {
      room = Math.min(WINDOW_BYTES, room + bytes);
      wake();
    },
    break(error) {
      broken ??= error;
      arrived = [];
      wake();
    },
  };
}
