/** Which credential goes on a request to a host, and what may then not go beside it. */
import type { GatewayCredential } from '@atoll/protocol/runner-link';
import { isBelow, isWithin } from '../bounds.ts';
import { covers } from './destination.ts';

/** Those that are for the host, whatever the request; the closest first. */
export function credentialsFor(
  host: string,
  credentials: readonly GatewayCredential[],
): readonly GatewayCredential[] {
  return credentials
    .filter(({ target }) => target.at === 'hosts' && target.hosts.some((pattern) => covers(pattern, host)))
    .sort((a, b) => Number(names(b, host)) - Number(names(a, host)));
}

/** The one that goes on a request: for its method and path, and of several the one whose bounds are the closest. */
export function credentialOf(
  method: string,
  target: string,
  forHost: readonly GatewayCredential[],
): GatewayCredential | undefined {
  const [path = ''] = target.split('?', 1);
  const depth = ({ paths = [] }: GatewayCredential) =>
    Math.max(0, ...paths.filter((prefix) => isBelow(prefix, path)).map((prefix) => prefix.length));
  return forHost
    .filter((each) => isWithin(each, method, path) && (each.paths === undefined || !isAmbiguous(path)))
    .sort((a, b) => depth(b) - depth(a))[0];
}

function names({ target }: GatewayCredential, host: string): boolean {
  return target.at === 'hosts' && target.hosts.includes(host);
}

/**
 * Whether a server could read another path in it: dot segments, also as `..;`, escaped separators, empty segments, and
 * escapes that are no UTF-8, such as overlong dots and slashes.
 */
function isAmbiguous(path: string): boolean {
  return /\/\/|\\|%(?:2e|2f|3b|5c|25|[01].|7f)|\/\.{1,2}(?:[;/]|$)/i.test(path) || !isDecodable(path);
}

function isDecodable(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}
