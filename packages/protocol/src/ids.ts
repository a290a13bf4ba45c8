/**
 * Ids are a prefix and 26 characters of Crockford base32: 48 bits of milliseconds (so ids sort by creation),
 * then 80 random bits (so nobody guesses them). Time and randomness are injected, so tests repeat.
 */

import { fillRandom } from './random.ts';

export const idPrefixes = {
  session: 'ses',
  turn: 'turn',
  sandbox: 'sbx',
  runner: 'run',
  job: 'job',
  snapshot: 'snap',
  key: 'key',
  approval: 'appr',
  command: 'cmd',
} as const;

export type IdKind = keyof typeof idPrefixes;

export type IdSource = {
  /** Milliseconds since 1970. */
  now(): number;
  /** Fills and returns the array with cryptographically strong bytes. */
  random(bytes: Uint8Array): Uint8Array;
};

export const systemIdSource: IdSource = {
  now: () => Date.now(),
  random: fillRandom,
};

export function newId(kind: IdKind, source: IdSource = systemIdSource): string {
  return `${idPrefixes[kind]}_${encodeTime(source.now())}${encodeRandom(source.random(new Uint8Array(10)))}`;
}

/** The least id that can be made at a moment, in milliseconds since 1970: a bound between earlier and later ones. */
export function firstIdOf(kind: IdKind, ms: number): string {
  return `${idPrefixes[kind]}_${encodeTime(ms)}${ALPHABET.charAt(0).repeat(16)}`;
}

/** A pattern for ids of one kind, for schemas. */
export function idPattern(kind: IdKind): RegExp {
  return new RegExp(`^${idPrefixes[kind]}_[0-9a-hjkmnp-tv-z]{26}$`);
}

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

function encodeTime(ms: number): string {
  let rest = ms;
  let text = '';
  for (let i = 0; i < 10; i++) {
    text = ALPHABET.charAt(rest % 32) + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}

function encodeRandom(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += ALPHABET.charAt((held >> bits) & 31);
    }
    held &= (1 << bits) - 1;
  }
  return text;
}
