/**
 * The name that a TLS client asks for (RFC 8446, 4.1.2; RFC 6066, 3), read as it passes: behind one address there may be
 * more hosts than the one that is allowed.
 */

export type Peeked =
  /** More is needed to tell. */
  | { kind: 'more' }
  /** No TLS, or without a name. */
  | { kind: 'nameless' }
  | { kind: 'named'; name: string }
  /** It begins like TLS, and is none that anybody could read. */
  | { kind: 'broken' };

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const MAX_BYTES = 64 * 1024;
/** Far more than anybody cuts it into; it is read anew with each piece that comes, which costs by the record. */
const MAX_RECORDS = 64;

/** `bytes` is all that came until now. */
export function peek(bytes: Buffer): Peeked {
  if (bytes.length > 0 && bytes[0] !== HANDSHAKE) return { kind: 'nameless' };
  const parts = recordsIn(bytes);
  const hello = whole(parts);
  if (hello !== undefined) return nameIn(hello);
  const over = bytes.length >= MAX_BYTES || parts.length > MAX_RECORDS;
  return { kind: over ? 'broken' : 'more' };
}

/** What is in the handshake records at the beginning; the last may not be whole. */
function recordsIn(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at + 5 <= bytes.length && bytes[at] === HANDSHAKE && parts.length <= MAX_RECORDS; ) {
    const end = at + 5 + bytes.readUInt16BE(at + 3);
    parts.push(bytes.subarray(at + 5, end));
    at = end;
  }
  return parts;
}

/** The first handshake message, put together from its records; undefined while it is not whole. */
function whole(parts: readonly Buffer[]): Buffer | undefined {
  const message = Buffer.concat(parts);
  if (message.length < 4) return undefined;
  const length = message.readUIntBE(1, 3);
  return message.length < 4 + length ? undefined : message.subarray(0, 4 + length);
}

function nameIn(message: Buffer): Peeked {
  if (message[0] !== CLIENT_HELLO) return { kind: 'broken' };
  try {
    // Version and random; session id; cipher suites; compression methods.
    let at = 4 + 2 + 32;
    at += 1 + message.readUInt8(at);
    at += 2 + message.readUInt16BE(at);
    at += 1 + message.readUInt8(at);
    if (at === message.length) return { kind: 'nameless' };
    const end = at + 2 + message.readUInt16BE(at);
    for (at += 2; at < end; at += 4 + message.readUInt16BE(at + 2)) {
      if (message.readUInt16BE(at) !== SERVER_NAME) continue;
      const length = message.readUInt16BE(at + 7);
      const name = message.toString('latin1', at + 9, at + 9 + length);
      return message[at + 6] === 0 && name.length === length ? { kind: 'named', name } : { kind: 'broken' };
    }
    return { kind: 'nameless' };
  } catch {
    // A length that leads out of the message.
    return { kind: 'broken' };
  }
}
