/**
 * What answers requests on a simulated node, as the HTTP framework does on a real one: the operation by its route, its
 * params by its schema, the handler of the product, and its answer as JSON, bytes or SSE.
 */
import type { ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import { AtollError } from '@atoll/protocol/errors';
import type { Operation, Operations } from '@atoll/protocol/operation';
import { parse } from '@atoll/protocol/parse';
import type { FileContent } from '@atoll/protocol/runner-link';
import { sseFrame } from '@atoll/protocol/sse';
import { childTraceparent } from '@atoll/protocol/trace';
import type { Logger } from '@atoll/server';
import { access } from '@atoll/server/access';
import type { Reply, Request, Serve } from './network.ts';
import { createParamReader, createSseWriters, toAtollError } from './product.ts';

type Handler = (params: unknown, context: Context, body: AsyncIterable<Uint8Array>) => Promise<unknown>;
type Streams = {
  json: Handler;
  stream: (params: unknown, context: Context) => Promise<AsyncIterable<Uint8Array>>;
};
type Context = { access: ReturnType<typeof access>; signal: AbortSignal; traceparent: string };
type Route = { name: string; operation: Operation; pattern: RegExp; names: string[] };
type FastifyLike = Parameters<ReturnType<typeof createParamReader>>[0];

const routesOf = new WeakMap<Operations, Route[]>();
const readers = new WeakMap<Operation, ReturnType<typeof createParamReader>>();

export function createServing(options: {
  operations: Operations;
  /** One for each operation, of its kind. */
  handlers: object;
  logger: Logger;
}): Serve {
  const { operations, logger } = options;
  // The table pairs every name with its handler.
  const handlers = options.handlers as Readonly<Record<string, Handler | Streams>>;
  const writers = createSseWriters();

  async function answer(request: Request, reply: Reply): Promise<void> {
    const { route, params } = read(operations, request);
    const { name, operation } = route;
    const { signal } = reply;
    const context = {
      access: access('default', 'admin'),
      signal,
      traceparent: childTraceparent(request.headers.traceparent),
    };
    const handler = handlers[name];
    if (handler === undefined) throw new AtollError('internal', `nothing does ${name}`);
    if (typeof handler !== 'function') {
      if (!request.headers.accept?.includes('text/event-stream'))
        return sendJson(
          reply,
          operation.rest.jsonStatus ?? 200,
          await handler.json(params, context, nothing()),
        );
      const frames = await handler.stream(params, context);
      return writers.write(responseOf(reply), frames, (error) => errorFrame(toAtollError(error, logger)));
    }
    const result = await handler(params, context, once(request.body));
    if (operation.rest.bytes === 'out') return sendFile(reply, result as FileContent);
    const { status = 200 } = operation.rest;
    sendJson(reply, status, result);
  }

  return (request, reply) => {
    answer(request, reply).catch((error: unknown) => {
      const known = toAtollError(error, logger);
      sendJson(reply, known.status, known.toProblem());
    });
  };
}

function read(operations: Operations, { method, path, headers, body }: Request) {
  const url = new URL(path, 'http://node');
  for (const route of routes(operations)) {
    const match = route.operation.rest.method === method ? route.pattern.exec(url.pathname) : null;
    if (!match) continue;
    const { operation } = route;
    const params = Object.fromEntries(
      route.names.map((name, i) => [name, decodeURIComponent(match[i + 1] ?? '')]),
    );
    const json = body !== undefined && operation.rest.bytes !== 'in' && body.length > 0;
    const asked = {
      params,
      query: Object.fromEntries(url.searchParams),
      headers,
      body: json ? JSON.parse(Buffer.from(body).toString()) : undefined,
    };
    const reader = readers.get(operation) ?? createParamReader(operation);
    readers.set(operation, reader);
    // It looks at nothing else of a request.
    return { route, params: parse(operation.params, reader(asked as unknown as FastifyLike)) };
  }
  throw new AtollError('unknown_route', `no route ${path}`);
}

function routes(operations: Operations): Route[] {
  const known = routesOf.get(operations);
  if (known) return known;
  const made = Object.entries(operations).map(([name, operation]) => {
    const names: string[] = [];
    const pattern = operation.rest.path.replace(/([:*])(\w+)/g, (_, mark: string, param: string) => {
      names.push(mark === '*' ? '*' : param);
      return mark === '*' ? '(.+)' : '([^/]+)';
    });
    return { name, operation, pattern: new RegExp(`^${pattern}$`), names };
  });
  routesOf.set(operations, made);
  return made;
}

function sendJson(reply: Reply, status: number, body: unknown): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  reply.whole(status, { 'content-type': 'application/json' }, Buffer.from(text));
}

async function sendFile(reply: Reply, { content, contentBytes }: FileContent): Promise<void> {
  const headers = { 'content-type': 'application/octet-stream', 'content-length': String(contentBytes) };
  reply.whole(200, headers, Buffer.concat(await Array.fromAsync(content)));
}

/** As much of a response as the writer of streams uses. */
function responseOf(reply: Reply): ServerResponse {
  const response = new Writable({
    highWaterMark: 4096,
    write: (bytes: Uint8Array, _encoding, taken) => reply.piece(bytes, taken),
    final(done) {
      reply.end();
      done();
    },
  });
  response.on('error', () => undefined);
  reply.signal.addEventListener('abort', () => response.destroy(), { once: true });
  if (reply.signal.aborted) response.destroy();
  const writeHead = (status: number, headers: Record<string, string>) => reply.head(status, headers);
  return Object.assign(response, { writeHead }) as unknown as ServerResponse;
}

function errorFrame({ code, detail }: AtollError): Uint8Array {
  return Buffer.from(sseFrame({ event: 'error', data: JSON.stringify({ code, detail }) }));
}

async function* once(bytes: Uint8Array | undefined): AsyncGenerator<Uint8Array> {
  if (bytes !== undefined) yield bytes;
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
