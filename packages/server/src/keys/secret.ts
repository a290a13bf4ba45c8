import { randomBytes } from 'node:crypto';

/** A new API key: a prefix that scanners for leaked keys can know, and 256 random bits. */
export function newSecret(): string {
  return `atoll_${randomBytes(32).toString('base64url')}`;
}
