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
const PLUS = 0x2b;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const LETTER_E = 0x65;
/** What a capital letter lacks. */
const LOWER_CASE = 0x20;

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

/** By byte: whether it stands for itself inside a string. */
const PLAIN = new Uint8Array(256).fill(1, 0x20);
PLAIN[QUOTE] = 0;
PLAIN[BACKSLASH] = 0;

function stringEnd(bytes: Uint8Array, start: number): number {
  for (let at = start + 1; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    // Nearly all of a text.
    if (PLAIN[byte] === 1) continue;
    if (byte === QUOTE) return at + 1;
    if (byte !== BACKSLASH) return NOWHERE;
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

const LITERALS = ['true', 'false', 'null'].map((word) => Buffer.from(word));

function scalarEnd(bytes: Uint8Array, start: number): number {
  const first = bytes[start] ?? 0;
  if (first === MINUS || isDigit(first)) return numberEnd(bytes, start);
  const literal = LITERALS.find((word) => word[0] === first);
  return literal?.every((byte, i) => bytes[start + i] === byte) ? start + literal.length : NOWHERE;
}

function numberEnd(bytes: Uint8Array, start: number): number {
  const whole = bytes[start] === MINUS ? start + 1 : start;
  let at = bytes[whole] === ZERO ? whole + 1 : digitsEnd(bytes, whole);
  if (bytes[at] === POINT) at = digitsEnd(bytes, at + 1);
  if (at === NOWHERE || ((bytes[at] ?? 0) | LOWER_CASE) !== LETTER_E) return at;
  const sign = bytes[at + 1];
  return digitsEnd(bytes, sign === PLUS || sign === MINUS ? at + 2 : at + 1);
}

/** After one digit and more. */
function digitsEnd(bytes: Uint8Array, start: number): number {
  let at = start;
  while (isDigit(bytes[at] ?? 0)) at++;
  return at === start ? NOWHERE : at;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= 0x39;
}

function isHex(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}

function skipSpace(bytes: Uint8Array, start: number): number {
  let at = start;
  while (bytes[at] === 0x20 || bytes[at] === 0x09 || bytes[at] === 0x0a || bytes[at] === 0x0d) at++;
  return at;
}
