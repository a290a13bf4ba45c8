/**
 * Whether bytes are one JSON object (RFC 8259), told without building it. An agent's message goes out inside of a line
 * of ours as the bytes it came in (I3): one that only looks like an object could close ours and add members to it.
 *
 * Each function takes the place where its part begins and gives the place after it, or NOWHERE.
 */

const NOWHERE = -1;
const MAX_DEPTH = 100;

export function isJsonObject(bytes: Uint8Array): boolean {
  const start = skipSpace(bytes, 0);
  if (bytes[start] !== OPEN_OBJECT) return false;
  const end = objectEnd(bytes, start, 0);
  return end !== NOWHERE && skipSpace(bytes, end) === bytes.length;
}

/** Where the object that begins at `start` ends; undefined when none does. */
export function jsonObjectEnd(bytes: Uint8Array, start: number): number | undefined {
  const end = bytes[start] === OPEN_OBJECT ? objectEnd(bytes, start, 0) : NOWHERE;
  return end === NOWHERE ? undefined : end;
}

const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function valueEnd(bytes: Uint8Array, at: number, depth: number): number {
  switch (bytes[at]) {
    case QUOTE:
      return stringEnd(bytes, at);
    case OPEN_OBJECT:
      return objectEnd(bytes, at, depth);
    case OPEN_ARRAY:
      return arrayEnd(bytes, at, depth);
    default:
      return scalarEnd(bytes, at);
  }
}

function objectEnd(bytes: Uint8Array, start: number, depth: number): number {
  if (depth >= MAX_DEPTH) return NOWHERE;
  let at = skipSpace(bytes, start + 1);
  if (bytes[at] === CLOSE_OBJECT) return at + 1;
  for (;;) {
    if (bytes[at] !== QUOTE) return NOWHERE;
    const named = stringEnd(bytes, at);
    if (named === NOWHERE) return NOWHERE;
    at = skipSpace(bytes, named);
    if (bytes[at] !== COLON) return NOWHERE;
    const held = valueEnd(bytes, skipSpace(bytes, at + 1), depth + 1);
    if (held === NOWHERE) return NOWHERE;
    at = skipSpace(bytes, held);
    if (bytes[at] === CLOSE_OBJECT) return at + 1;
    if (bytes[at] !== COMMA) return NOWHERE;
    at = skipSpace(bytes, at + 1);
  }
}

function arrayEnd(bytes: Uint8Array, start: number, depth: number): number {
  if (depth >= MAX_DEPTH) return NOWHERE;
  let at = skipSpace(bytes, start + 1);
  if (bytes[at] === CLOSE_ARRAY) return at + 1;
  for (;;) {
    const held = valueEnd(bytes, at, depth + 1);
    if (held === NOWHERE) return NOWHERE;
    at = skipSpace(bytes, held);
    if (bytes[at] === CLOSE_ARRAY) return at + 1;
    if (bytes[at] !== COMMA) return NOWHERE;
    at = skipSpace(bytes, at + 1);
  }
}

function stringEnd(bytes: Uint8Array, start: number): number {
  for (let at = start + 1; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    // Nearly all of a text: small letters.
    if (byte > BACKSLASH) continue;
    if (byte === QUOTE) return at + 1;
    if (byte < 0x20) return NOWHERE;
    if (byte !== BACKSLASH) continue;
    at++;
    if (bytes[at] === 0x75) {
      for (let digit = 0; digit < 4; digit++) if (!isHex(bytes[++at] ?? 0)) return NOWHERE;
    } else if (!isEscaped(bytes[at] ?? 0)) return NOWHERE;
  }
  return NOWHERE;
}

/** What may follow a backslash, besides `u`. */
function isEscaped(byte: number): boolean {
  return byte === QUOTE || byte === BACKSLASH || '/bfnrt'.includes(String.fromCharCode(byte));
}

const SCALAR = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/;

function scalarEnd(bytes: Uint8Array, start: number): number {
  let at = start;
  let text = '';
  for (; at < bytes.length && isOfScalar(bytes[at] ?? 0); at++) text += String.fromCharCode(bytes[at] ?? 0);
  return SCALAR.test(text) ? at : NOWHERE;
}

function isOfScalar(byte: number): boolean {
  const isDigit = byte >= 0x30 && byte <= 0x39;
  return (
    isDigit ||
    (byte >= 0x61 && byte <= 0x7a) ||
    byte === 0x45 ||
    byte === 0x2b ||
    byte === 0x2d ||
    byte === 0x2e
  );
}

function isHex(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}

function skipSpace(bytes: Uint8Array, start: number): number {
  let at = start;
  while (bytes[at] === 0x20 || bytes[at] === 0x09 || bytes[at] === 0x0a || bytes[at] === 0x0d) at++;
  return at;
}
