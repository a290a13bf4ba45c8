/** The flat params of an operation, gathered from where they stand on HTTP. Text becomes what the schema wants. */

import { AtollError } from '@atoll/protocol/errors';
import type { Operation } from '@atoll/protocol/operation';
import { type Placement, placeParams } from '@atoll/protocol/rest';
import type { FastifyRequest } from 'fastify';
import type * as v from 'valibot';

export type ParamReader = (request: FastifyRequest) => Record<string, unknown>;

export function createParamReader(operation: Operation): ParamReader {
  const places = placeParams(operation);
  const kinds = Object.fromEntries(
    Object.entries(operation.params.entries).map(([name, schema]) => [name, kindOf(schema)]),
  );
  const wildcard = /\*(\w+)$/.exec(operation.rest.path)?.[1];

  return (request) => {
    const params: Record<string, unknown> = {};
    const path = request.params as Record<string, string>;
    for (const name of places.path) params[name] = path[name === wildcard ? '*' : name];
    for (const [name, value] of Object.entries(request.query as Record<string, unknown>)) {
      if (!places.query.includes(name))
        throw new AtollError('invalid_request', `unknown query parameter "${name.slice(0, 100)}"`);
      params[name] = fromText(value, kinds[name] ?? 'string');
    }
    for (const name of places.headers) {
      const value = request.headers[operation.rest.headers?.[name] ?? ''];
      if (value !== undefined) params[name] = value;
    }
    return operation.rest.bytes === 'in' ? params : { ...bodyOf(request, places), ...params };
  };
}

function bodyOf(request: FastifyRequest, { path, query, headers }: Placement): Record<string, unknown> {
  const { body } = request;
  if (body === undefined) return {};
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new AtollError('invalid_request', 'the body must be a JSON object');
  const outside = [...path, ...query, ...headers].find((name) => Object.hasOwn(body, name));
  if (outside !== undefined) throw new AtollError('invalid_request', `unknown field "${outside}"`);
  return body as Record<string, unknown>;
}

/** Query strings carry text only; the schema then says whether what it became is right. */
function fromText(value: unknown, kind: string): unknown {
  if (typeof value !== 'string') return value;
  if (kind === 'number' && /^-?\d+(\.\d+)?$/.test(value)) return Number(value);
  if (kind === 'boolean' && (value === 'true' || value === 'false')) return value === 'true';
  return value;
}

function kindOf(schema: v.GenericSchema): string {
  return 'wrapped' in schema ? kindOf(schema.wrapped as v.GenericSchema) : schema.type;
}
