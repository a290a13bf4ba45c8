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
/**
 * What a frame is unpacked into, a chunk at a time: Node's own 16 KB cost more than the unpacking. Text becomes four
 * times as much, and a pack is a chunk.
 */
const UNPACKED_TIMES = 5;
const MIN_CHUNK_BYTES = 16 * 1024;
const MAX_CHUNK_BYTES = 1024 * 1024;
const params = { [constants.ZSTD_c_compressionLevel]: 1 };

/** SHA-256 (hex). */
export async function hashOf(content: Uint8Array): Promise<string> {
  if (content.length <= HASHED_HERE_BYTES) return createHash('sha256').update(content).digest('hex');
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', ofOneThread(content))).toString('hex');
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
    const chunkSize = Math.min(Math.max(stored.length * UNPACKED_TIMES, MIN_CHUNK_BYTES), MAX_CHUNK_BYTES);
    const options = { maxOutputLength: MAX_BYTES, chunkSize };
    const content = await decompress(stored, options).catch(() => undefined);
    if (content && (await hashOf(content)) === hash) return content;
  }
  return (await hashOf(stored)) === hash ? stored : undefined;
}

/** Memory that a thread may change meanwhile is copied: it would be refused. */
function ofOneThread(content: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = content;
  if (buffer instanceof ArrayBuffer) return new Uint8Array(buffer, byteOffset, byteLength);
  return Uint8Array.from(content);
}

function isFrame(bytes: Uint8Array): boolean {
  return FRAME_MAGIC.equals(bytes.subarray(0, FRAME_MAGIC.length));
}
