/**
 * OpenAPI 3.1 from a table of operations. Nothing about a route is written twice: paths, parameters, bodies and answers
 * all come from the operation's own schemas.
 */
import { toJsonSchema } from '@valibot/to-json-schema';
import type * as v from 'valibot';
import type { Operation, Operations } from './operation.ts';
import { type Placement, placeParams } from './rest.ts';

type Json = Record<string, unknown>;

export function openApi(options: { title: string; version: string; operations: Operations }): Json {
  const paths: Record<string, Json> = {};
  for (const [name, op] of Object.entries(options.operations)) {
    const path = openApiPath(op.rest.path);
    paths[path] = { ...paths[path], [op.rest.method.toLowerCase()]: describeOperation(name, op) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: options.title,
      version: options.version,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{ key: [] }],
    paths,
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer' } },
      responses: {
        problem: {
          description: 'What went wrong (RFC 9457)',
          content: { 'application/problem+json': { schema: problemSchema } },
        },
      },
    },
  };
}

/** `/a/:b/*c` as OpenAPI writes it: `/a/{b}/{c}`. */
export function openApiPath(path: string): string {
  return path.replace(/[:*](\w+)/g, '{$1}');
}

/** The JSON Schema (2020-12) of what a schema takes, without its `$schema` line. */
export function jsonSchema(schema: v.GenericSchema): Json {
  const { $schema: _, ...rest } = toJsonSchema(schema, { errorMode: 'ignore', typeMode: 'input' });
  return rest as Json;
}

function describeOperation(name: string, op: Operation): Json {
  const schema = jsonSchema(op.params);
  const properties = (schema.properties ?? {}) as Record<string, Json>;
  const required = new Set((schema.required ?? []) as string[]);
  const places = placeParams(op);
  const parameter = (place: string) => (param: string) => ({
    name: place === 'header' ? op.rest.headers?.[param] : param,
    in: place,
    required: place === 'path' || required.has(param),
    schema: properties[param],
  });
  const parameters = [
    ...places.path.map(parameter('path')),
    ...places.query.map(parameter('query')),
    ...places.headers.map(parameter('header')),
  ];
  return {
    operationId: name,
    summary: op.summary,
    ...(op.role === 'public' ? { security: [] } : { 'x-role': op.role }),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...requestBody(op, places, properties, required),
    responses: { ...successes(op), default: { $ref: '#/components/responses/problem' } },
  };
}

function requestBody(
  op: Operation,
  { body: names, open }: Placement,
  properties: Record<string, Json>,
  required: Set<string>,
): Json {
  if (op.rest.bytes === 'in') {
    return { requestBody: { required: true, content: { 'application/octet-stream': {} } } };
  }
  if (names.length === 0 && !open) return {};
  const needed = names.filter((name) => required.has(name));
  const schema = {
    type: 'object',
    properties: Object.fromEntries(names.map((name) => [name, properties[name]])),
    required: needed,
    additionalProperties: open,
  };
  return { requestBody: { required: needed.length > 0, content: { 'application/json': { schema } } } };
}

function successes(op: Operation): Json {
  const status = String(op.rest.status ?? 200);
  const json = { 'application/json': { schema: jsonSchema(op.result) } };
  if (op.rest.bytes === 'out')
    return { [status]: { description: 'The bytes', content: { 'application/octet-stream': {} } } };
  if (op.kind === 'text') return { [status]: { description: 'Text', content: { 'text/plain': {} } } };
  if (op.kind !== 'stream') {
    const { statusWhen: other } = op.rest;
    const done = { [status]: { description: 'Done', content: json } };
    return other
      ? { ...done, [String(other.status)]: { description: `Done, with ${other.param}`, content: json } }
      : done;
  }
  const stream = { 'text/event-stream': { schema: { type: 'string' } } };
  const jsonStatus = String(op.rest.jsonStatus ?? status);
  if (jsonStatus === status)
    return { [status]: { description: 'Events, or JSON', content: { ...stream, ...json } } };
  return {
    [status]: { description: 'Events', content: stream },
    [jsonStatus]: { description: 'Accepted', content: json },
  };
}

const problemSchema = {
  type: 'object',
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string' },
  },
  required: ['type', 'title', 'status', 'detail', 'code'],
};
