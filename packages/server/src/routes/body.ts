/** Request bodies as they arrive: bounded where they are gathered, and never waited for without end. */
import type { Readable } from 'node:stream';
import { AtollError } from '@atoll/protocol/errors';

/** A client that has begun a body and says nothing for this long is given up. */
const SILENCE_MS = 60_000;

/**
 * The pieces of a body. Rejects with `request_timeout` or `invalid_request`. Whoever stops in the middle leaves the
 * source open: destroyed, it would take along the connection that the answer goes out on.
 */
export async function* bodyPieces(
  source: Readable,
  { silenceMs = SILENCE_MS }: { silenceMs?: number } = {},
): AsyncGenerator<Uint8Array> {
  const pieces = source.iterator({ destroyOnReturn: false });
  try {
    for (;;) {
      const next = await within(pieces.next(), silenceMs);
      if (next.done) return;
      yield next.value as Uint8Array;
    }
  } catch (error) {
    throw error instanceof AtollError ? error : brokenOff(error);
  } finally {
    // Not awaited: it settles after the piece that is still being waited for, which may be never.
    void pieces.return?.();
  }
}

/** A whole body. One that announces more than `maxBytes` is refused before any of it is read. */
export async function gatherBody(
  source: Readable,
  { announced, maxBytes }: { announced: string | undefined; maxBytes: number },
): Promise<Buffer> {
  if (Number(announced ?? 0) > maxBytes) throw tooLarge(maxBytes);
  // Of what is over before anybody listens, no event tells: a client may have left while its key was looked up.
  if (source.destroyed && !source.readableEnded) throw brokenOff(source.errored);
  if (source.readableEnded) return Buffer.alloc(0);
  // Most bodies are one piece: by events it costs a quarter of what an iterator and its promises do.
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const pieces: Uint8Array[] = [];
  let room = maxBytes;
  const late = setTimeout(() => reject(silent(SILENCE_MS)), SILENCE_MS);
  const listeners = {
    data(piece: Uint8Array) {
      late.refresh();
      room -= piece.length;
      if (room < 0) reject(tooLarge(maxBytes));
      else pieces.push(piece);
    },
    end: () => resolve(Buffer.concat(pieces)),
    error: (error: Error) => reject(brokenOff(error)),
    close: () => reject(brokenOff(undefined)),
  };
  const each = Object.entries(listeners);
  for (const [name, listener] of each) source.on(name, listener);
  try {
    return await promise;
  } finally {
    clearTimeout(late);
    for (const [name, listener] of each) source.off(name, listener);
    source.pause();
  }
}

function tooLarge(maxBytes: number): AtollError {
  return new AtollError(
    'body_too_large',
    `the body is larger than the ${maxBytes} bytes that this route takes`,
  );
}

function silent(ms: number): AtollError {
  return new AtollError('request_timeout', `nothing of the body came for ${ms / 1000} s`);
}

function brokenOff(cause: unknown): AtollError {
  return new AtollError('invalid_request', 'the body broke off before its end', { cause });
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(silent(ms)), ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
