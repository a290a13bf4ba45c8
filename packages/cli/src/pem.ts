import { readFileSync } from 'node:fs';
import { SetupError } from './failure.ts';

/** A certificate, or a key. */
export function readPem(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new SetupError(`cannot read the certificate: ${error instanceof Error ? error.message : error}`);
  }
}
