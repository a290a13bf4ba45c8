/**
 * A file's content as pieces of packs. It is cut where it was cut before, and what is behind that in pieces of at most
 * `PIECE_BYTES`: a piece that is as it was is not stored again, so a file that grew costs what it grew by, and one that
 * was written to in places costs those. Zeros cost nothing. Memory: one piece.
 */
import { createHash, hash } from 'node:crypto';
import { readSync } from 'node:fs';
import { AtollError } from '@atoll/protocol/errors';
import type { Packs, Piece } from './putting.ts';

export type Content = { size: number; hash: string; pieces: readonly Piece[] };

/** Reads an open file to its end; `before` is what it held last time. */
export type ReadContent = (fd: number, before: readonly Piece[]) => Promise<Content>;

export const PIECE_BYTES = 1024 * 1024;
/** A file that grew this often has its small pieces joined, so that it is never made of thousands. */
const MAX_SMALL_PIECES = 16;
const SMALL_BYTES = 128 * 1024;
/** Shorter runs of zeros are bytes like others. */
const MIN_HOLE_BYTES = 4096;
const ZEROS = Buffer.alloc(PIECE_BYTES);

export function createContentReader(options: {
  packs: Packs;
  /** What may be read in all: sparse files can be endless without using any disk. */
  maxBytes: number;
  /** Lets others work. */
  breathe: () => Promise<void>;
}): ReadContent {
  const { packs, maxBytes, breathe } = options;
  let memory: Uint8Array | undefined;
  let readBytes = 0;

  /** In memory that the next call uses again. Shorter than asked for at the end of the file only. */
  function readPiece(fd: number, position: number, length: number): Uint8Array {
    memory ??= new Uint8Array(PIECE_BYTES);
    const scratch = memory;
    let filled = 0;
    while (filled < length) {
      const read = readSync(fd, scratch, filled, length - filled, position + filled);
      if (read === 0) break;
      filled += read;
    }
    readBytes += filled;
    if (readBytes > maxBytes)
      throw new AtollError('snapshot_failed', 'the files are much larger than the disk that they may use');
    return scratch.subarray(0, filled);
  }

  return async (fd, before) => {
    const whole = createHash('sha256');
    const pieces: Piece[] = [];
    const known = withoutSmallEnd(before);
    for (let size = 0; ; ) {
      const old = known[pieces.length];
      const bytes = readPiece(fd, size, old?.length ?? PIECE_BYTES);
      if (bytes.length === 0) return { size, hash: whole.digest('hex'), pieces };
      size += bytes.length;
      whole.update(bytes);
      const own = hash('sha256', bytes, 'hex');
      pieces.push(old?.hash === own ? old : await newPiece(bytes, own, packs));
      await breathe();
    }
  };
}

function newPiece(bytes: Uint8Array, own: string, packs: Packs): Promise<Piece> | Piece {
  const { length } = bytes;
  if (length >= MIN_HOLE_BYTES && ZEROS.compare(bytes, 0, length, 0, length) === 0)
    return { blob: null, offset: 0, length, hash: own };
  return packs.add(bytes, own);
}

/** Many small pieces at the end are read as one again. */
function withoutSmallEnd(pieces: readonly Piece[]): readonly Piece[] {
  const end = pieces.findLastIndex(({ length }) => length >= SMALL_BYTES) + 1;
  return pieces.length - end >= MAX_SMALL_PIECES ? pieces.slice(0, end) : pieces;
}
