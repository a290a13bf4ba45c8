/** Every failure leaves as problem+json (RFC 9457), the framework's own ones too. */
import type { IncomingMessage } from 'node:http';
import { finished } from 'node:stream/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { Operations } from '@atoll/protocol/operation';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Logger } from '../logger.ts';
import { docPaths } from './docs.ts';
import { clip, toAtollError } from './to-atoll-error.ts';

export function setErrors(app: FastifyInstance, operations: Operations, logger: Logger): void {
  const declared = Object.values(operations).map(({ rest: { method, path } }) => ({ method, path }));
  const routes = [...declared, ...docPaths.map((path) => ({ method: 'GET', path }))].map(
    ({ method, path }) => ({
      method,
      pattern: new RegExp(`^${path.replace(/:\w+/g, '[^/]+').replace(/\*\w+$/, '.+')}$`),
    }),
  );
  app.setErrorHandler(async (error, request, reply) => {
    const known = toAtollError(error, logger);
    if (known.code === 'body_too_large') await discard(request.raw);
    return sendError(reply, known);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] ?? '';
    const methods = routes.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method);
    if (methods.length === 0)
      return sendError(reply, new AtollError('unknown_route', `no route ${clip(path)}`));
    reply.header('allow', methods.join(', '));
    return sendError(
      reply,
      new AtollError('method_not_allowed', `${clip(path)} takes ${methods.join(', ')}`),
    );
  });
}

const MAX_DISCARDED_BYTES = 256 * 1024 * 1024;
const MAX_DISCARDING_MS = 30_000;

/** Reads on to the end of a body nobody wants: a client that still writes when the answer comes never reads it. */
async function discard(request: IncomingMessage): Promise<void> {
  let left = MAX_DISCARDED_BYTES;
  if (Number(request.headers['content-length'] ?? 0) > left) return;
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) request.destroy();
  });
  // Whoever began to read it has paused it.
  request.resume();
  // The client left, or takes too long: it is answered all the same, if it is still there.
  await finished(request, { signal: AbortSignal.timeout(MAX_DISCARDING_MS) }).catch(() => undefined);
}

export function sendError(reply: FastifyReply, error: AtollError): FastifyReply {
  if (error.status === 401) reply.header('www-authenticate', 'Bearer');
  // The rest of a body that nobody waits for.
  if (error.code === 'request_timeout') reply.header('connection', 'close');
  return reply
    .code(error.status)
    .type('application/problem+json')
    .send(Buffer.from(JSON.stringify(error.toProblem())));
}
