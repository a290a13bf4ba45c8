import { AtollError } from './errors.ts';
import type { Operation } from './operation.ts';
import { type Placement, placeParams } from './rest.ts';

export type RestRequest = {
  method: string;
  /** Path and query, to be put behind the server's address. */
  path: string;
  headers: Record<string, string>;
  /** JSON, where the operation has body params. */
  body?: string;
};

/** An operation's params, each at the place that its REST binding gives it. */
export function restRequest(op: Operation, params: Readonly<Record<string, unknown>>): RestRequest {
  const places = placeParams(op);
  const headers: Record<string, string> = {};
  for (const name of places.headers) {
    const header = op.rest.headers?.[name];
    if (header !== undefined && params[name] !== undefined) headers[header] = String(params[name]);
  }
  const request = {
    method: op.rest.method,
    path: fillPath(op.rest.path, params) + queryString(places.query, params),
    headers,
  };
  const names = places.open ? bodyNames(places, params) : places.body;
  if ((names.length === 0 && !places.open) || op.rest.bytes === 'in') return request;
  headers['content-type'] = 'application/json';
  return { ...request, body: JSON.stringify(pick(names, params)) };
}

function fillPath(path: string, params: Readonly<Record<string, unknown>>): string {
  return path.replace(/([:*])(\w+)/g, (_, mark: string, name: string) => {
    const value = params[name];
    if (typeof value !== 'string' || value === '')
      throw new AtollError('invalid_request', `"${name}" is missing`);
    const segments = mark === '*' ? value.split('/') : [value];
    return segments.map(encodeSegment).join('/');
  });
}

/** Dot segments are refused here, since every URL parser on the way would fold them, encoded or not. */
function encodeSegment(segment: string): string {
  if (segment === '' || segment === '.' || segment === '..')
    throw new AtollError('invalid_path', 'A path may not hold empty or dot segments.');
  return encodeURIComponent(segment);
}

function queryString(names: readonly string[], params: Readonly<Record<string, unknown>>): string {
  const query = new URLSearchParams();
  for (const name of names) if (params[name] !== undefined) query.set(name, String(params[name]));
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

/** Whatever has no other place is of an open body. */
function bodyNames({ path, query, headers }: Placement, params: Readonly<Record<string, unknown>>): string[] {
  const placed = new Set([...path, ...query, ...headers]);
  return Object.keys(params).filter((name) => !placed.has(name));
}

function pick(names: readonly string[], params: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    names.filter((name) => params[name] !== undefined).map((name) => [name, params[name]]),
  );
}
