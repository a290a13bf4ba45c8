/**
 * Hosts as people list them: a name, an address, or `*.suffix` for every name below one. What is matched against them is
 * a host as `URL` writes it, so each has one spelling here, too.
 */

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** What `URL` reads as the end of an IPv4 address, in one of its many forms. */
const NUMBER = /^(?:\d+|0x[0-9a-f]*)$/;
/** Names that mean another machine in every network (RFC 6761, 6762, 8375, and ICANN's `internal`), or may. */
const PRIVATE_SUFFIXES = 'localhost local internal intranet private corp home lan test home.arpa'.split(' ');

/**
 * The one spelling of a pattern; undefined when it is none. A wildcard never covers all hosts, a whole top-level domain,
 * addresses, or private names: those are listed one by one.
 */
export function hostPattern(text: string): string | undefined {
  if (!/^[\x21-\x7e]{1,253}$/.test(text)) return undefined;
  const lower = text.toLowerCase();
  if (lower.startsWith('*.')) return isPublicSuffix(lower.slice(2)) ? lower : undefined;
  return isName(lower) ? lower : addressOf(lower);
}

/** Whether a host, as `URL` writes it, is an address or a name that public DNS does not know. */
export function isPrivateHost(host: string): boolean {
  if (!isName(host)) return true;
  return !host.includes('.') || PRIVATE_SUFFIXES.some((suffix) => host.endsWith(`.${suffix}`));
}

function isPublicSuffix(suffix: string): boolean {
  return isName(suffix) && !isPrivateHost(suffix) && !PRIVATE_SUFFIXES.includes(suffix);
}

function isName(text: string): boolean {
  const labels = text.split('.');
  return labels.every((label) => LABEL.test(label)) && !NUMBER.test(labels.at(-1) ?? '');
}

/** IPv4 in its usual form only, since `010.0.0.1` is not what it seems; IPv6 in any, since those all say the same. */
function addressOf(text: string): string | undefined {
  const url = text.includes(':') ? `http://[${text.replace(/^\[(.*)\]$/, '$1')}]` : `http://${text}`;
  if (!/^[0-9a-f:.[\]]+$/.test(text) || !URL.canParse(url)) return undefined;
  const { hostname } = new URL(url);
  return hostname.startsWith('[') || hostname === text ? hostname : undefined;
}
