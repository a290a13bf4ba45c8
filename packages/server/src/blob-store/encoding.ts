/**
 * How blobs lie in a store: as they are, or as a zstd frame where that is smaller. A blob that begins like such a frame
 * is always put into one, so what begins like one is one; except for blobs of before there was compression, which is why
 * the hash decides.
 */
import { createHash, webcrypto } from 'node:crypto';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);
const FRAME_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
/** A frame has some bytes of its own; less than this is not worth a thread's time. */
const MIN_BYTES = 256;
/** Larger than any blob: what a frame may unpack to. */
const MAX_BYTES = 256 * 1024 * 1024;
/** Beyond it, hashing here would hold up everybody else. */
const HASHED_HERE_BYTES = 64 * 1024;
const params = { [constants.ZSTD_c_compressionLevel]: 1 };

/** SHA-256 (hex). */
export async function hashOf(content: Uint8Array): Promise<string> {
  if (content.length <= HASHED_HERE_BYTES) return createHash('sha256').update(content).digest('hex');
  // A copy of its own memory: the caller's may be shared with a thread.
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', Uint8Array.from(content))).toString('hex');
}

export async function encode(content: Uint8Array): Promise<Uint8Array> {
  const looksEncoded = isFrame(content);
  if (content.length < MIN_BYTES && !looksEncoded) return content;
  const frame = await compress(content, { params });
  return looksEncoded || frame.length < content.length ? frame : content;
}

/** The content with that hash; undefined when the bytes do not hold it. */
export async function decode(stored: Uint8Array, hash: string): Promise<Uint8Array | undefined> {
  if (isFrame(stored)) {
    const content = await decompress(stored, { maxOutputLength: MAX_BYTES }).catch(() => undefined);
    if (content && (await hashOf(content)) === hash) return content;
  }
  return (await hashOf(stored)) === hash ? stored : undefined;
}

function isFrame(bytes: Uint8Array): boolean {
  return FRAME_MAGIC.equals(bytes.subarray(0, FRAME_MAGIC.length));
}
