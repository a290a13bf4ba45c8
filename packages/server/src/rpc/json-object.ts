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
const LETTER_F = 0x66;
const LETTER_N = 0x6e;
const LETTER_T = 0x74;
const LETTER_U = 0x75;
/** What a capital letter lacks. */
const LOWER_CASE = 0x20;
const TRUE = Buffer.from('true');
const FALSE = Buffer.from('false');
const NULL = Buffer.from('null');
/** What may follow a backslash, besides `u`. */
const ESCAPED = Buffer.from('"\\/bfnrt');

function valueEnd(bytes: Uint8Array, at: number, depth: number): number {
  switch (bytes[at]) {
    case QUOTE:
      return stringEnd(bytes, at);
    case OPEN_OBJECT:
      return objectEnd(bytes, at, depth);
    case OPEN_ARRAY:
      return arrayEnd(bytes, at, depth);
    case LETTER_T:
      return wordEnd(bytes, at, TRUE);
    case LETTER_F:
      return wordEnd(bytes, at, FALSE);
    case LETTER_N:
      return wordEnd(bytes, at, NULL);
    default:
      return numberEnd(bytes, at);
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
  let at = start + 1;
  for (;;) {
    // Nearly all of a text.
    while (PLAIN[bytes[at] ?? QUOTE] === 1) at++;
    if (bytes[at] === QUOTE) return at + 1;
    if (bytes[at] !== BACKSLASH) return NOWHERE;
    at = escapeEnd(bytes, at + 1);
    if (at === NOWHERE) return NOWHERE;
  }
}

/** What may follow a backslash. */
function escapeEnd(bytes: Uint8Array, start: number): number {
  const byte = bytes[start] ?? 0;
  if (byte !== LETTER_U) return ESCAPED.includes(byte) ? start + 1 : NOWHERE;
  for (let at = start + 1; at <= start + 4; at++) if (!isHex(bytes[at] ?? 0)) return NOWHERE;
  return start + 5;
}

function wordEnd(bytes: Uint8Array, start: number, word: Uint8Array): number {
  for (let i = 1; i < word.length; i++) if (bytes[start + i] !== word[i]) return NOWHERE;
  return start + word.length;
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

/** By byte: whether it may stand between the parts of a text. */
const BLANK = new Uint8Array(256);
for (const byte of Buffer.from(' \t\n\r')) BLANK[byte] = 1;

function skipSpace(bytes: Uint8Array, start: number): number {
  let at = start;
  while (BLANK[bytes[at] ?? QUOTE] === 1) at++;
  return at;
}
