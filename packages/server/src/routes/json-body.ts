/**
 * JSON bodies, parsed only after a look at their bytes: `JSON.parse` itself is what a hostile body attacks, by nesting
 * or by millions of tiny values that take a hundred times their size in memory.
 */
import { isUtf8 } from 'node:buffer';
import { AtollError } from '@atoll/protocol/errors';

const MAX_DEPTH = 100;
/** Brackets, commas and colons outside of strings. The largest agent folder needs some ten thousand. */
const MAX_TOKENS = 1_000_000;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** undefined for an empty body. Throws `invalid_json`. */
export function parseJsonBody(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  if (!isUtf8(body)) throw new AtollError('invalid_json', 'the body is not valid UTF-8');
  const fault = bombIn(body);
  if (fault !== undefined) throw new AtollError('invalid_json', `the body ${fault}`);
  try {
    return JSON.parse(body.toString());
  } catch (error) {
    throw new AtollError('invalid_json', error instanceof Error ? withoutQuote(error.message) : undefined);
  }
}

/** V8 quotes what stands around the fault, and that may be a secret: `Unexpected token 'x', ..."ue":"se"... is not …`. */
function withoutQuote(message: string): string | undefined {
  return message.split(/, (?:\.{3})?"/)[0];
}

/** Why JSON is not to be parsed here: to build and to write out again what it says would take the server down. */
export function bombIn(body: Uint8Array): string | undefined {
  let depth = 0;
  let tokens = 0;
  for (let at = 0; at < body.length; at++) {
    switch (body[at]) {
      case QUOTE:
        at = stringEnd(body, at + 1);
        break;
      case 0x5b: // [
      case 0x7b: // {
        depth++;
        tokens++;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
        tokens++;
        break;
      case 0x2c: // ,
      case 0x3a: // :
        tokens++;
    }
    if (depth > MAX_DEPTH) return `is nested more than ${MAX_DEPTH} deep`;
    if (tokens > MAX_TOKENS) return 'holds too many values';
  }
  return undefined;
}

/** Where a string that begins at `from` ends; the body's end when it never does. */
function stringEnd(body: Uint8Array, from: number): number {
  for (let end = body.indexOf(QUOTE, from); end !== -1; end = body.indexOf(QUOTE, end + 1)) {
    let slashes = 0;
    while (body[end - 1 - slashes] === BACKSLASH && end - 1 - slashes >= from) slashes++;
    if (slashes % 2 === 0) return end;
  }
  return body.length;
}
