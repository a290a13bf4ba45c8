import * as v from 'valibot';
import { hostPattern, isPrivateHost } from '../host-pattern.ts';
import { agentName, count, time } from './common.ts';

/**
 * What a gateway adds to requests on their way out of a sandbox, and to which. Every message here is our own: those of
 * the library repeat what they were given, and that may be a secret in the wrong field.
 */

const text = (max: number) => v.pipe(v.string('must be text'), v.maxLength(max, `at most ${max} characters`));

export const credentialName = v.pipe(
  v.string('must be text'),
  v.regex(
    /^[a-z0-9][a-z0-9._-]{0,63}$/,
    'must be 1-64 of a-z, 0-9, ".", "_", "-", and begin with a letter or digit',
  ),
);

const list = <S extends v.GenericSchema>(item: S, max: number) =>
  v.pipe(
    v.array(item, 'must be a list'),
    v.minLength(1, 'must not be empty'),
    v.maxLength(max, `at most ${max}`),
  );

/** A pattern of hosts, in its one spelling. */
export const host = v.pipe(
  text(256),
  v.check(
    (given) => hostPattern(given) !== undefined,
    'must be a host name, an address or "*.suffix", without scheme, port or path; "*" alone, "*.com", and "*." before an address or a private name are none',
  ),
  v.transform((given) => hostPattern(given) ?? given),
);

/** Those that frame or route a request are the gateway's own. */
const OWN_HEADERS =
  /^(?:host|connection|content-length|transfer-encoding|upgrade|te|trailer|keep-alive|expect|forwarded|via|proxy-.*|x-forwarded-.*)$/;

const header = v.pipe(
  text(64),
  v.regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'must be a header name'),
  v.toLowerCase(),
  v.check((name) => !OWN_HEADERS.test(name), 'must not be a header that frames or routes the request'),
);

/** Printable ASCII without spaces around it. */
const HEADER_TEXT = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

const template = v.pipe(
  text(256),
  v.regex(HEADER_TEXT, 'must be what a header can hold'),
  v.check((given) => given.split('{value}').length === 2, 'must hold "{value}" once'),
);

/** RFC 7617: no colon, no controls. */
const username = v.pipe(text(256), v.regex(/^[^:\p{Cc}]+$/u, 'must hold no colon and no control characters'));

const url = v.pipe(text(2048), v.check(isUpstream, 'must be an https URL without user, query or fragment'));

function isUpstream(given: string): boolean {
  if (!/^[\x21-\x7e]+$/.test(given) || !URL.canParse(given)) return false;
  const { protocol, hostname, username: user, password } = new URL(given);
  if (user !== '' || password !== '' || /[?#\\]/.test(given)) return false;
  return protocol === 'https:' || (protocol === 'http:' && isPrivateHost(hostname));
}

const method = v.pipe(
  v.string('must be text'),
  v.regex(/^(?!CONNECT$|TRACE$)[A-Z]{1,20}$/, 'must be an HTTP method in capitals, not CONNECT or TRACE'),
);

const pathPrefix = v.pipe(
  text(1024),
  v.check(
    isPathPrefix,
    'must begin with "/" and be written as in a URL, without query, dot segments, empty segments or escapes of "/", "." and "\\"',
  ),
);

function isPathPrefix(given: string): boolean {
  if (!/^\/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*$/.test(given)) return false;
  if (/%(?:2e|2f|5c|[01].|7f)/i.test(given)) return false;
  const segments = given.slice(1).split('/');
  return !segments.some(
    (segment, at) => /^\.{1,2}$/.test(segment) || (segment === '' && at < segments.length - 1),
  );
}

/** What it is for, beside what its kind says. Left out: every agent; every method; every path. */
export const credentialBounds = {
  agents: v.optional(list(credentialName, 256)),
  methods: v.optional(list(method, 16)),
  /** A prefix ends where a segment does: `/acme` covers `/acme/x`, and not `/acme-2`. */
  paths: v.optional(list(pathPrefix, 64)),
};

const hosts = list(host, 64);

/**
 * How it is used. `header`, `bearer` and `basic`: added to what goes to these hosts. `anthropic` and `openai`: the key of
 * that model API. `mcp`: a remote MCP server, under the credential's name.
 */
export const credentialUse = v.variant('kind', [
  v.strictObject({
    kind: v.literal('header'),
    hosts,
    header,
    template: v.optional(template, '{value}'),
  }),
  v.strictObject({ kind: v.literal('bearer'), hosts }),
  v.strictObject({ kind: v.literal('basic'), hosts, username }),
  v.strictObject({ kind: v.literal('anthropic'), url: v.optional(url, 'https://api.anthropic.com') }),
  v.strictObject({ kind: v.literal('openai'), url: v.optional(url, 'https://api.openai.com') }),
  v.strictObject({
    kind: v.literal('mcp'),
    url,
    header: v.optional(header, 'authorization'),
    template: v.optional(template, 'Bearer {value}'),
  }),
]);
export type CredentialUse = v.InferOutput<typeof credentialUse>;

export const credentialKinds = ['header', 'bearer', 'basic', 'anthropic', 'openai', 'mcp'] as const;
const kind = v.picklist(credentialKinds, `must be one of ${credentialKinds.join(', ')}`);

/** One flat object, as every operation takes; which fields belong to which kind is `credentialUse`'s to say. */
export const newCredential = {
  name: credentialName,
  kind,
  value: v.pipe(
    v.string('must be text'),
    v.minLength(1, 'must not be empty'),
    v.maxLength(16 * 1024, 'must have at most 16384 characters'),
    v.regex(/^\P{Cc}*$/u, 'must hold no control characters, such as line ends'),
    v.check((given) => given.isWellFormed(), 'must be well-formed Unicode'),
  ),
  hosts: v.optional(hosts),
  header: v.optional(header),
  template: v.optional(template),
  username: v.optional(username),
  url: v.optional(url),
  ...credentialBounds,
};

/** Whether a header can hold it as it is. `basic` encodes its password, all others do not. */
export function fitsHeader(value: string): boolean {
  return HEADER_TEXT.test(value);
}

/** Everything about a credential but its value. null: what its kind does not have, or no bound. */
export const credential = v.object({
  name: credentialName,
  kind,
  /** Rises each time it is set. */
  version: count,
  /** The same for the same value under this name and on this server; says nothing about the value. */
  fingerprint: v.string(),
  hosts: v.nullable(v.array(v.string())),
  header: v.nullable(v.string()),
  template: v.nullable(v.string()),
  username: v.nullable(v.string()),
  url: v.nullable(v.string()),
  agents: v.nullable(v.array(agentName)),
  methods: v.nullable(v.array(v.string())),
  paths: v.nullable(v.array(v.string())),
  createdAt: time,
  updatedAt: time,
});
export type Credential = v.InferOutput<typeof credential>;
