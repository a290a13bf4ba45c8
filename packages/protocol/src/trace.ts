/** W3C Trace Context (https://www.w3.org/TR/trace-context/): one `traceparent` goes along on every wire. */

import { fillRandom } from './random.ts';

const PATTERN = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

export function isTraceparent(value: string): boolean {
  return PATTERN.test(value);
}

/** A child of `parent` (same trace, new span), or the start of a new trace where there is no valid parent. */
export function childTraceparent(
  parent: string | undefined,
  random: (bytes: Uint8Array) => Uint8Array = fillRandom,
): string {
  const span = hex(random(new Uint8Array(8)));
  if (parent !== undefined && isTraceparent(parent))
    return `${parent.slice(0, 36)}${span}${parent.slice(52)}`;
  return `00-${hex(random(new Uint8Array(16)))}-${span}-01`;
}

function hex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}
