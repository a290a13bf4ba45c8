/** A blob that a runner hands over, which is held as a whole. */
import { AtollError } from '@atoll/protocol/errors';

/** A piece of a snapshot is at most about 8 MiB; packs of small files are less. */
const MAX_BLOB_BYTES = 64 * 1024 * 1024;

/** Rejects with `body_too_large`, and as `pieces` do. */
export async function gatherBlob(
  pieces: AsyncIterable<Uint8Array>,
  { maxBytes = MAX_BLOB_BYTES }: { maxBytes?: number } = {},
): Promise<Buffer> {
  const gathered: Uint8Array[] = [];
  let room = maxBytes;
  for await (const piece of pieces) {
    room -= piece.length;
    if (room < 0) throw new AtollError('body_too_large', `a blob takes ${maxBytes} bytes at most`);
    gathered.push(piece);
  }
  return Buffer.concat(gathered);
}
