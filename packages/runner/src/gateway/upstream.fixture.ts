/** What tests of a gateway's rows stand on: an upstream that does as it is told, and a caller on the gateway's socket. */
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { GatewayCredential } from '@atoll/protocol/runner-link';
import type { GatewayCredentials } from './credentials.ts';
import type { Gateway } from './gateway.ts';

export const silent = { debug() {}, info() {}, warn() {}, error() {} };

export type Seen = { method: string; url: string; headers: http.IncomingHttpHeaders; body: string };

export type Upstream = AsyncDisposable & {
  readonly url: string;
  readonly port: number;
  /** Every request whose body came whole. */
  readonly seen: Seen[];
  /** Answers from now on. */
  respond: (request: http.IncomingMessage, response: http.ServerResponse, seen: Seen) => void;
};

export async function startUpstream(): Promise<Upstream> {
  const server = http.createServer(async (request, response) => {
    const { method = '', url = '', headers } = request;
    const body = Buffer.concat(await request.toArray()).toString();
    const seen = { method, url, headers, body };
    upstream.seen.push(seen);
    upstream.respond(request, response, seen);
  });
  server.on('clientError', (_error, socket) => socket.destroy());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const upstream: Upstream = {
    url: `http://127.0.0.1:${port}`,
    port,
    seen: [],
    respond: (_request, response) => void response.end('{}'),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return upstream;
}

/** Credentials that a test changes as it goes. */
export function held(): GatewayCredentials & { now: GatewayCredential[]; error?: Error } {
  const credentials: ReturnType<typeof held> = {
    now: [],
    async current() {
      if (credentials.error) throw credentials.error;
      return credentials.now;
    },
    close: () => undefined,
  };
  return credentials;
}

export function keyFor(
  target: GatewayCredential['target'],
  more: Partial<GatewayCredential> = {},
): GatewayCredential {
  const value = 'the-stored-secret';
  return {
    name: 'stored',
    version: 1,
    target,
    methods: undefined,
    paths: undefined,
    header: { name: 'authorization', value: `Bearer ${value}` },
    secrets: [value],
    ...more,
  };
}

/** Resolves when the answer begins. */
export function ask(
  gateway: Gateway,
  method: string,
  path: string,
  body = '',
  headers: Record<string, string> = {},
): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    http
      .request(new URL(gateway.address + path), { method, headers, agent: false }, resolve)
      .on('error', reject)
      .end(body);
  });
}

export async function textOf(response: http.IncomingMessage): Promise<string> {
  return Buffer.concat(await response.toArray()).toString();
}
