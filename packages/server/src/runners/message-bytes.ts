/** What a runner elsewhere hands on as messages of an executor: they are shown to readers as they came (I3). */
import { isUtf8 } from 'node:buffer';

const CR = 0x0d;
const NUL = 0x00;

/** Why such bytes cannot be shown: they would end the line of an event, or a reader gets others than were kept. */
export function faultIn(bytes: Uint8Array): string | undefined {
  // As a Buffer, which is searched by what the system has for it.
  const searched = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (!isUtf8(searched)) return 'invalid UTF-8';
  return searched.includes(CR) || searched.includes(NUL) ? 'a raw CR or NUL' : undefined;
}
