/** The bounds of a credential: which requests it goes on. */
import type { GatewayCredential } from '@atoll/protocol/runner-link';

type Bounds = Pick<GatewayCredential, 'methods' | 'paths'>;

/** `path` as it is sent to the upstream. A prefix ends where a segment does: `/acme` covers `/acme/x`, not `/acme-2`. */
export function isWithin({ methods, paths }: Bounds, method: string, path: string): boolean {
  if (methods !== undefined && !methods.includes(method)) return false;
  return paths === undefined || paths.some((prefix) => isBelow(prefix, path));
}

export function isBelow(prefix: string, path: string): boolean {
  const trunk = prefix.replace(/\/$/, '');
  return path === trunk || path.startsWith(`${trunk}/`);
}
