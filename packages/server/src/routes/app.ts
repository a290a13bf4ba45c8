/**
 * HTTP: one route for each operation of the table, made from it. What is here is the wire's own: keys, bodies, content
 * types, errors as problem+json, streams as SSE.
 */
import type { Server as HttpServer, IncomingMessage, RequestListener } from 'node:http';
import { Readable } from 'node:stream';
import { AtollError } from '@atoll/protocol/errors';
import type { Operation, Operations } from '@atoll/protocol/operation';
import { parse } from '@atoll/protocol/parse';
import type { FileContent } from '@atoll/protocol/runner-link';
import { sseFrame } from '@atoll/protocol/sse';
import { childTraceparent } from '@atoll/protocol/trace';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { type Access, access, refuseUnlessAllowed } from '../keys/access.ts';
import type { Recognise } from '../keys/recognise.ts';
import type { Logger } from '../logger.ts';
import { formWanted } from './accept.ts';
import { bodyPieces, gatherBody } from './body.ts';
import { addDocs } from './docs.ts';
import { sendError, setErrors } from './errors.ts';
import type { Context } from './handler.ts';
import { parseJsonBody } from './json-body.ts';
import { createParamReader } from './read-params.ts';
import { createSseWriters } from './sse.ts';
import { toAtollError } from './to-atoll-error.ts';

export type AppOptions = {
  /** Where the requests come from. Its limits and its closing are not the app's. */
  server: HttpServer;
  /** What the document and the page about the operations are called. */
  title: string;
  operations: Operations;
  /** One for each operation, of its kind. */
  handlers: object;
  recognise: Recognise;
  version: string;
  logger: Logger;
};

export type App = {
  /** Answers a request of that server. */
  readonly handle: RequestListener;
  /** Ends its streams; requests that come later are refused. */
  close(): Promise<void>;
};

const DEFAULT_BODY_BYTES = 1024 * 1024;
/** The second is what RFC 7396 calls the body of its PATCH. */
const JSON_TYPES = ['application/json', 'application/merge-patch+json'];

export async function createApp(options: AppOptions): Promise<App> {
  const { server, operations, handlers, recognise, logger } = options;
  const app = fastify({
    serverFactory: () => server,
    // Longer than a request line can be: what is too long for a name, its schema says.
    routerOptions: { maxParamLength: 64 * 1024 },
    frameworkErrors: (error, _request, reply) => sendError(reply, toAtollError(error, logger)),
    // What never becomes a request, the server itself answers.
    clientErrorHandler: () => undefined,
    exposeHeadRoutes: false,
    // No route has a schema of the framework's: its validator and serializer would be loaded for nothing.
    schemaController: { compilersFactory: { buildValidator: unused, buildSerializer: unused } },
  });
  const writers = createSseWriters();
  app.addHook('onClose', async () => writers.stop());
  setErrors(app, operations, logger);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(JSON_TYPES, async (request: FastifyRequest, payload: IncomingMessage) => {
    const { bodyLimit } = request.routeOptions;
    const announced = request.headers['content-length'];
    return parseJsonBody(await gatherBody(payload, { announced, maxBytes: bodyLimit }));
  });

  for (const [name, operation] of Object.entries(operations)) {
    if (operation.rest.bytes === 'in') addBytesIn(name, operation);
    else addRoute(app, name, operation);
  }
  addDocs(app, options);
  await app.ready();
  return { handle: app.routing, close: () => app.close() };

  /** Uploads take any content type and are never gathered: they live in a context with a parser of their own. */
  function addBytesIn(name: string, operation: Operation): void {
    app.register(async (scope) => {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser('*', async (_request: FastifyRequest, payload: IncomingMessage) =>
        bodyPieces(payload),
      );
      addRoute(scope, name, operation);
    });
  }

  function addRoute(scope: FastifyInstance, name: string, operation: Operation): void {
    const read = createParamReader(operation);
    scope.route({
      method: operation.rest.method,
      url: operation.rest.path.replace(/\*\w+$/, '*'),
      bodyLimit:
        operation.rest.bytes === 'in'
          ? Number.MAX_SAFE_INTEGER
          : (operation.rest.maxBodyBytes ?? DEFAULT_BODY_BYTES),
      config: { operation: name },
      onRequest: async (request) => {
        await authorize(request, operation);
        refuseCompressed(request);
      },
      handler: async (request, reply) => {
        const params = parse(operation.params, read(request));
        return answer(name, operation, params, request, reply);
      },
    });
  }

  async function authorize(request: FastifyRequest, operation: Operation): Promise<void> {
    if (operation.role === 'public') return;
    const secret = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (secret === undefined)
      throw new AtollError('unauthorized', 'send an API key as "Authorization: Bearer …"');
    const asking = await recognise(secret);
    refuseUnlessAllowed(asking, operation);
    accesses.set(request, asking);
  }

  async function answer(
    name: string,
    operation: Operation,
    params: unknown,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<unknown> {
    const abort = new AbortController();
    // With a reason of ours: otherwise each request makes an exception and its stack.
    reply.raw.once('close', () => abort.abort('closed'));
    const context: Context = {
      access: accesses.get(request) ?? nobody,
      signal: abort.signal,
      traceparent: childTraceparent(String(request.headers.traceparent)),
    };
    // The table pairs every name with its handler and params; here only the kind matters.
    const handler = (handlers as Readonly<Record<string, AnyHandler>>)[name];
    if (!handler) throw new AtollError('internal', `nothing does ${name}`);
    reply.code(statusOf(operation, params));
    if (operation.kind === 'stream' && 'stream' in handler) {
      if (formWanted(request.headers.accept, operation.rest.jsonFirst ? 'json' : 'stream') === 'json') {
        if (operation.rest.jsonStatus !== undefined) reply.code(operation.rest.jsonStatus);
        return handler.json(params, context);
      }
      const frames = await handler.stream(params, context);
      reply.hijack();
      await writers.write(reply.raw, frames, (error) => errorFrame(toAtollError(error, logger)));
      return;
    }
    if ('stream' in handler) throw new AtollError('internal');
    // Nothing is read of a request without a body: an empty upload.
    const body = (request.body ?? Readable.from([])) as AsyncIterable<Uint8Array>;
    const result = await handler(params, context, body);
    if (operation.rest.bytes === 'out') return sendBytes(reply, result as FileContent);
    if (operation.kind === 'text') return reply.type('text/plain; version=0.0.4; charset=utf-8').send(result);
    return result;
  }
}

/** Nothing here unpacks a body: JSON would not be understood, and a file would be kept as what it is not. */
function refuseCompressed({ headers }: FastifyRequest): void {
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding.toLowerCase() !== 'identity')
    throw new AtollError(
      'unsupported_media_type',
      'bodies are taken as they are, without a content-encoding',
    );
}

function statusOf({ rest: { status = 200, statusWhen: other } }: Operation, params: unknown): number {
  return other && (params as Record<string, unknown>)[other.param] === true ? other.status : status;
}

const unused = () => () => {
  throw new AtollError('internal', 'routes are validated by the operation table');
};

type AnyHandler =
  | ((params: unknown, context: Context, body: AsyncIterable<Uint8Array>) => Promise<unknown>)
  | {
      json: (params: unknown, context: Context) => Promise<unknown>;
      stream: (params: unknown, context: Context) => Promise<AsyncIterable<Uint8Array>>;
    };

const accesses = new WeakMap<FastifyRequest, Access>();
const nobody: Access = { ...access('', 'client'), may: () => false };

function sendBytes(reply: FastifyReply, file: FileContent): FastifyReply {
  return (
    reply
      .header('content-length', file.contentBytes)
      .header('last-modified', new Date(file.modifiedAt).toUTCString())
      .header('atoll-size-bytes', file.sizeBytes)
      // What an agent wrote is never a page of ours.
      .header('x-content-type-options', 'nosniff')
      .header('content-disposition', 'attachment')
      .type('application/octet-stream')
      .send(Readable.from(file.content, { objectMode: false }))
  );
}

function errorFrame({ code, detail }: AtollError): Uint8Array {
  return Buffer.from(sseFrame({ event: 'error', data: JSON.stringify({ code, detail }) }));
}
