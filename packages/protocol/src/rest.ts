import type { Operation } from './operation.ts';

export type Placement = {
  path: string[];
  query: string[];
  body: string[];
  headers: string[];
  /** The body may hold more than `body` names. */
  open: boolean;
};

/**
 * Where each param of an operation stands on HTTP, by name. The one reading of `rest`: routes, OpenAPI and the client
 * all place by it.
 */
export function placeParams(op: Operation): Placement {
  const inPath = [...op.rest.path.matchAll(/[:*](\w+)/g)].map((match) => match[1] ?? '');
  const headers = Object.keys(op.rest.headers ?? {});
  const rest = Object.keys(op.params.entries).filter(
    (name) => !inPath.includes(name) && !headers.includes(name),
  );
  const hasBody = op.rest.method === 'POST' || op.rest.method === 'PATCH';
  const query = rest.filter((name) => !hasBody || op.rest.query?.includes(name));
  const body = rest.filter((name) => !query.includes(name));
  return { path: inPath, query, body, headers, open: op.params.type === 'loose_object' };
}
