/**
 * Where a proxy request wants to go, and whether its agent may: a host that its list names, in the one spelling there is,
 * and port 80 or 443.
 */
import { isIP } from 'node:net';
import { AtollError } from '@atoll/protocol/errors';
import { hostPattern, isPrivateHost } from '@atoll/protocol/host-pattern';
import { isPublicAddress } from './address.ts';

/** A host as `URL` writes it. */
export type Destination = { readonly host: string; readonly port: 80 | 443 };

const AUTHORITY = /^([^\s/?#\\@:[\]]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?$/;

/** Reads `host` or `host:port`. Throws `invalid_request` and, for other ports and spellings, `egress_refused`. */
export function destinationOf(authority: string, defaultPort?: 80 | 443): Destination {
  const [, named = '', digits] = AUTHORITY.exec(authority) ?? [];
  const port = digits === undefined ? defaultPort : Number(digits);
  if (named === '' || port === undefined)
    throw new AtollError('invalid_request', 'a proxy request names a host and a port');
  const host = hostPattern(named);
  if (host === undefined || host.startsWith('*'))
    throw new AtollError(
      'egress_refused',
      `${shown(named)} is not a host name or an address in its usual form`,
    );
  if (port !== 80 && port !== 443)
    throw new AtollError('egress_refused', `agents get out on ports 80 and 443, and not to ${host}:${port}`);
  return { host, port };
}

/** Throws `egress_refused` unless the list names the host. */
export function refuseUnlisted(allowed: readonly string[], host: string): void {
  if (allowed.some((pattern) => covers(pattern, host))) return;
  throw new AtollError(
    'egress_refused',
    `this agent may not reach ${host}: add "${host}" to "egress" in its atoll.json and deploy it again`,
  );
}

/** A `Host` that says something else is meant for somebody else. Throws `egress_refused`. */
export function refuseOtherHost(header: string | undefined, { host, port }: Destination): void {
  const said = header === undefined ? undefined : destinationOf(header, port);
  if (said?.host !== host || said.port !== port)
    throw new AtollError('egress_refused', `the Host header is not ${host}`);
}

/** Whether a host is the pattern's, both in their one spelling. */
export function covers(pattern: string, host: string): boolean {
  return pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) : host === pattern;
}

/**
 * The addresses that may be dialled, all of them looked at. An address, and a name that public DNS does not know, is
 * listed by itself, and so was meant to lead inside; any other name leads inside only to addresses that are listed, too.
 */
export async function addressesOf(
  host: string,
  allowed: readonly string[],
  resolve: (host: string) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const address = bare(host);
  if (isIP(address) !== 0) return [address];
  const addresses = await resolve(host);
  if (isPrivateHost(host)) return addresses;
  const inside = addresses.find(
    (each) => !isPublicAddress(each) && !allowed.includes(hostPattern(each) ?? ''),
  );
  if (inside === undefined) return addresses;
  throw new AtollError(
    'egress_refused',
    `${host} has an address that is not on the internet (${inside}); if that is meant, list the address in "egress", too`,
  );
}

/** An address without the brackets of a URL. */
export function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1');
}

/** Of what somebody else wrote, enough to know it again. */
function shown(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 100);
}
