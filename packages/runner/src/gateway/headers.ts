/** Headers on their way through a gateway: which ones pass, and how a body is delimited. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';

/** What belongs to one connection alone (RFC 9110, 7.6.1). */
const HOP = /^(connection|keep-alive|proxy-.+|te|trailer|transfer-encoding|upgrade)$/;

/** The executor speaks for nobody: credentials and origin are the gateway's to say. */
const OWN =
  /^(authorization|cookie|x-api-key|forwarded|x-forwarded-.+|x-real-ip|host|content-length|expect|accept-encoding)$/;

/** By which a request says that it means another method or path than it names: not beside a credential. */
const OVERRIDES =
  /^x-(?:http-method|http-method-override|method-override|original-url|original-uri|rewrite-url|rewrite-uri|forwarded-uri|forwarded-prefix)$/;

/** A part of an answer may hold a part of a secret, which nobody knows again. */
const PARTS = /^(range|if-range)$/;

export type Headers = Record<string, string | string[]>;

/** Those that pass and are allowed; never those that `Connection` names as meant for this hop alone. */
export function passedHeaders(headers: IncomingHttpHeaders, allowed: (name: string) => boolean): Headers {
  const hop = (headers.connection ?? '').toLowerCase().split(/\s*,\s*/);
  const kept: Headers = {};
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined && !HOP.test(name) && !hop.includes(name) && allowed(name)) kept[name] = value;
  return kept;
}

/** All that an executor may say by itself to whoever its call goes to. */
export function executorHeaders(headers: IncomingHttpHeaders): Headers {
  return passedHeaders(headers, (name) => !OWN.test(asRead(name)) && !isOverride(name) && !asksForPart(name));
}

export function isOverride(name: string): boolean {
  return OVERRIDES.test(asRead(name));
}

export function asksForPart(name: string): boolean {
  return PARTS.test(name);
}

/** To servers that make variables of headers, both are the same. */
export function asRead(name: string): string {
  return name.replaceAll('_', '-');
}

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0;
}

/** Said outright, never left to a default that depends on the method: what nobody delimits is the next request. */
export function bodyFraming(request: IncomingMessage): Headers {
  if (!hasBody(request)) return request.method === 'GET' ? {} : { 'content-length': '0' };
  const length = request.headers['content-length'];
  return length === undefined ? { 'transfer-encoding': 'chunked' } : { 'content-length': length };
}

/** How the body of a reply is written, when it can only be read by undoing that first; undefined when it is plain. */
export function encodingOf({ headers }: IncomingMessage): string | undefined {
  const content = headers['content-encoding']?.trim().toLowerCase() ?? '';
  if (content !== '' && content !== 'identity') return content;
  const transfer = headers['transfer-encoding']?.trim().toLowerCase() ?? '';
  return transfer === '' || transfer === 'chunked' ? undefined : transfer;
}
