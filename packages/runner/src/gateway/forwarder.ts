/**
 * The way of a sandbox's model calls: HTTP on a Unix socket, forwarded to the configured upstream with the key added
 * here, outside (I7). Only model calls pass, the caller's own credentials are dropped, and the key's literal is
 * scrubbed from what comes back. Everything else of a sandbox's network is closed.
 */
import { chmod, chown, open } from 'node:fs/promises';
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http';
import { basename, dirname } from 'node:path';
import { pipeline } from 'node:stream';
import type { SandboxOwner } from '../driver.ts';
import type { Logger } from '../logger.ts';
import { createScrubber } from './scrubber.ts';

export type Upstream = { baseUrl: string; apiKey: string };
export type Upstreams = { anthropic?: Upstream };

export type Forwarder = {
  /** Where it listens: a Unix socket (chowned to `owner`), or a loopback port for drivers without a sandbox. */
  readonly address: string;
  close(): Promise<void>;
};

const ROUTES: readonly { method: string; path: RegExp }[] = [
  { method: 'POST', path: /^\/v1\/messages(\/count_tokens)?$/ },
  { method: 'GET', path: /^\/v1\/models(\/\w[\w.-]*)?$/ },
];

/** What a caller may say upstream; its credentials, its origin and the framing of its body are set anew here. */
const ASKED =
  /^(accept|accept-language|content-type|content-encoding|user-agent|x-app|traceparent|tracestate|(anthropic|x-anthropic|x-claude|x-stainless)-.+)$/;

/** Of a reply only what belongs to this one connection stays behind (RFC 9110, 7.6.1), and the length, which scrubbing changes. */
const HOP = /^(connection|keep-alive|proxy-.+|te|trailer|transfer-encoding|upgrade|content-length)$/;

/** Far more than an agent has model calls at a time; each costs the runner a descriptor and memory. */
const MAX_CONNECTIONS = 256;

type Where = { socketPath: string; owner: SandboxOwner } | { loopback: true; secretPath: string };

export async function createForwarder(options: {
  upstreams: Upstreams;
  where: Where;
  logger: Logger;
}): Promise<Forwarder> {
  const { upstreams, where, logger } = options;
  const prefix = 'secretPath' in where ? `${where.secretPath}/anthropic` : '/anthropic';
  // Imported, either module would cost every start 16 ms and more; taken like this, the first sandbox pays.
  const http = process.getBuiltinModule('node:http');
  const secure = /^https:/i.test(upstreams.anthropic?.baseUrl ?? '');
  const transport = secure ? process.getBuiltinModule('node:https') : http;
  const agent = new transport.Agent({ keepAlive: true });

  const server = http.createServer((request, response) => {
    const url = request.url ?? '';
    const { anthropic } = upstreams;
    const path = url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : undefined;
    const plain = path?.split('?')[0] ?? '';
    if (
      path === undefined ||
      !ROUTES.some((route) => route.method === request.method && route.path.test(plain))
    )
      return refuse(response, 403, 'permission_error', 'Atoll forwards model calls only.');
    if (!anthropic)
      return refuse(
        response,
        503,
        'api_error',
        'Atoll has no model credential: start it with ANTHROPIC_API_KEY set.',
      );
    if (request.method === 'GET' && hasBody(request.headers))
      return refuse(response, 400, 'invalid_request_error', 'A GET has no body here.');
    forward(request, response, {
      target: new URL(anthropic.baseUrl.replace(/\/$/, '') + path),
      key: anthropic.apiKey,
    });
  });
  // A model may think for long before it says anything; nothing here gives up on it.
  server.requestTimeout = 0;
  server.maxConnections = MAX_CONNECTIONS;
  server.on('clientError', (_error, socket) => socket.destroy());

  function forward(
    request: IncomingMessage,
    response: ServerResponse,
    { target, key }: { target: URL; key: string },
  ): void {
    const headers = {
      ...passed(request.headers, (name) => ASKED.test(name)),
      ...framing(request),
      host: target.host,
      'x-api-key': key,
      'accept-encoding': 'identity',
    };
    const upstream = transport.request(
      target,
      { method: request.method, headers, agent },
      (reply: IncomingMessage) => {
        const scrubber = createScrubber(key);
        const kept = passed(reply.headers, (name) => !HOP.test(name));
        response.writeHead(reply.statusCode ?? 502, scrubber.headers(kept));
        pipeline(reply, scrubber.stream, response, () => undefined);
      },
    );
    upstream.on('error', (error) => {
      logger.warn({ host: target.host, reason: error.message }, 'the model upstream could not be reached');
      if (response.headersSent) response.destroy();
      else
        refuse(
          response,
          502,
          'api_error',
          `Atoll cannot reach the model upstream (${'code' in error ? error.code : 'no reason'}).`,
        );
    });
    response.on('close', () => upstream.destroy());
    // Without a body nothing is piped: what came as one would be the next request on a connection others share.
    if (request.method === 'GET') upstream.end();
    else request.pipe(upstream);
  }

  const address = await listen(server, where);
  return {
    address,
    close: () =>
      new Promise((resolve) => {
        agent.destroy();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function hasBody(headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0;
}

/** How the body upstream is delimited: said outright, never left to a default that depends on the method. */
function framing({ method, headers }: IncomingMessage): Record<string, string> {
  if (method === 'GET') return {};
  const length = headers['content-length'];
  return length === undefined ? { 'transfer-encoding': 'chunked' } : { 'content-length': length };
}

/** Never those that `Connection` names as meant for this hop alone. */
function passed(
  headers: IncomingHttpHeaders,
  allowed: (name: string) => boolean,
): Record<string, string | string[]> {
  const hop = (headers.connection ?? '').toLowerCase().split(/\s*,\s*/);
  const kept: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined && allowed(name) && !hop.includes(name)) kept[name] = value;
  return kept;
}

/** In the shape of the API's own errors, so that the executor understands it. */
function refuse(response: ServerResponse, status: number, type: string, message: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ type: 'error', error: { type, message } }));
}

async function listen(server: Server, where: Where): Promise<string> {
  if ('loopback' in where) {
    await listening(server, { host: '127.0.0.1', port: 0 });
    const bound = server.address();
    return `http://127.0.0.1:${typeof bound === 'object' && bound ? bound.port : 0}${where.secretPath}`;
  }
  const { socketPath, owner } = where;
  // A socket's address has room for 107 bytes; through a descriptor of its directory any path is short.
  const directory = await open(dirname(socketPath));
  try {
    await listening(server, {
      path: socketPath.length > 100 ? `/proc/self/fd/${directory.fd}/${basename(socketPath)}` : socketPath,
    });
    await chmod(socketPath, 0o600);
    if (owner) await chown(socketPath, owner.uid, owner.gid);
  } finally {
    await directory.close();
  }
  return socketPath;
}

function listening(
  server: Server,
  options: { path: string } | { host: string; port: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => resolve());
  });
}
