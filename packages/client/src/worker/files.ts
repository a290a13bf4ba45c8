/** Workspace files through the worker, a piece at a time: neither side ever holds more of one. */
import { MAX_PIECE_BYTES, type WorkerInput, type WorkerResult } from '@atoll/protocol/worker-methods';

/** Well under the longest line, and small enough for other answers to come between. */
const PIECE_BYTES = Math.min(1024 * 1024, MAX_PIECE_BYTES);

type Read = (
  name: 'session.files.read',
  params: WorkerInput<'session.files.read'>,
) => Promise<WorkerResult<'session.files.read'>>;
type Write = (
  name: 'session.files.write',
  params: WorkerInput<'session.files.write'>,
) => Promise<WorkerResult<'session.files.write'>>;

/** Each piece is read when it is asked for. */
export async function* readFile(call: Read, sessionId: string, path: string): AsyncGenerator<Uint8Array> {
  for (let offset = 0; ; ) {
    const piece = await call('session.files.read', { sessionId, path, offset, length: PIECE_BYTES });
    const bytes = Buffer.from(piece.content, 'base64');
    if (bytes.length > 0) yield bytes;
    offset += bytes.length;
    if (bytes.length === 0 || offset >= piece.sizeBytes) return;
  }
}

export async function writeFile(
  call: Write,
  sessionId: string,
  path: string,
  content: string | Uint8Array | AsyncIterable<Uint8Array>,
): Promise<WorkerResult<'session.files.write'>> {
  let offset = 0;
  const write = async (piece: Buffer, more: boolean) => {
    const sent = { sessionId, path, offset, content: piece.toString('base64'), more };
    offset += piece.length;
    return call('session.files.write', sent);
  };
  let held = Buffer.alloc(0);
  for await (const part of partsOf(content)) {
    held = Buffer.concat([held, part]);
    for (; held.length > PIECE_BYTES; held = held.subarray(PIECE_BYTES))
      await write(held.subarray(0, PIECE_BYTES), true);
  }
  return write(held, false);
}

function partsOf(
  content: string | Uint8Array | AsyncIterable<Uint8Array>,
): Iterable<Uint8Array> | AsyncIterable<Uint8Array> {
  if (typeof content === 'string') return [Buffer.from(content)];
  return content instanceof Uint8Array ? [content] : content;
}
