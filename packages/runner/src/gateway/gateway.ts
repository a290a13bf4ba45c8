/**
 * The one way out of a sandbox: HTTP, one listener per sandbox, which is how the gateway knows whose call it is.
 *
 * Stages of a call: of this sandbox (the socket is its own; over loopback a secret path and the right `Host`) → a plain
 * path → the first row that takes it. What is asked of a proxy, a whole URL or a tunnel, goes to the egress instead, and
 * reaches no row. Everything else of a sandbox's network is closed.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { AtollError, type ErrorCode } from '@atoll/protocol/errors';
import { type Row, refuse } from './call.ts';
import type { Egress } from './egress/proxy.ts';
import { listen, listenOn, type Where } from './listen.ts';

export type Gateway = {
  /** The socket's path, or a URL on loopback. */
  readonly address: string;
  /**
   * Listens on what a sandbox made on its own loopback, in place of where it has listened so far. Rejects when that is no
   * listener, or not at this port.
   */
  listenOn(listener: object, port: number): Promise<void>;
  close(): Promise<void>;
};

/** Far more than an agent has calls at a time; each costs the runner a descriptor and memory. */
const MAX_CONNECTIONS = 256;

/** Nothing encoded, nothing empty: a path that two parsers could read in two ways goes nowhere. */
const PLAIN_PATH = /^(?:\/[\w.~@:+,;=$!*'()&-]+)*\/?$/;
/** With a parameter, too: some servers read `/..;/` as `/../`. */
const DOT_SEGMENT = /\/\.{1,2}(?:[/;]|$)/;
/** What proxies are asked for (RFC 9112, 3.2.2). */
const WHOLE_URL = /^[a-z][a-z0-9+.-]*:\/\//i;

export async function createGateway(options: {
  where: Where;
  rows: readonly Row[];
  egress?: Egress;
  /** Why it answers nothing now. */
  shut?: () => ErrorCode | undefined;
}): Promise<Gateway> {
  const { where, rows, egress, shut = () => undefined } = options;
  const prefix = 'secretPath' in where ? where.secretPath : '';
  // Imported, it would cost every start 16 ms and more; taken like this, the first sandbox pays.
  const http = process.getBuiltinModule('node:http');

  function createServer(): Server {
    const created = http.createServer((request, response) => {
      try {
        const refusal = shut();
        if (refusal !== undefined) throw new AtollError(refusal);
        if (egress && WHOLE_URL.test(request.url ?? '')) egress.request(request, response);
        else void answer(request, response);
      } catch (error) {
        refuse(response, error instanceof AtollError ? error : new AtollError('internal'));
      }
    });
    // A model may think for long before it says anything; nothing here gives up on it.
    created.requestTimeout = 0;
    created.maxConnections = MAX_CONNECTIONS;
    created.on('clientError', (_error, socket) => socket.destroy());
    if (egress)
      created.on('connect', (request: IncomingMessage, socket, head: Buffer) => {
        if (shut() === undefined) egress.connect(request, head);
        else socket.end('HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n');
      });
    return created;
  }

  function answer(request: IncomingMessage, response: ServerResponse): void | Promise<void> {
    const { host = '', upgrade } = request.headers;
    if (prefix !== '' && host !== new URL(address).host)
      throw new AtollError('invalid_request', 'the Host header is not the address of this gateway');
    const url = below(prefix, request.url ?? '');
    const [path = ''] = url.split('?', 1);
    if (!PLAIN_PATH.test(path) || DOT_SEGMENT.test(path))
      throw new AtollError(
        'invalid_request',
        'the gateway takes plain paths, without encoding or dot segments',
      );
    if (/websocket/i.test(upgrade ?? ''))
      throw new AtollError('invalid_request', 'the gateway changes to no other protocol');
    const row = rows.find((each) => each.takes(path));
    if (!row) throw new AtollError('unknown_route', 'this gateway has no such route');
    return row.answer({ request, response, path, query: url.slice(path.length) });
  }

  let server = createServer();
  let closed = false;
  const address = await listen(server, where);
  return {
    address,
    async listenOn(listener, port) {
      const other = createServer();
      await listenOn(other, listener, port);
      // Nobody is connected to the first yet, and `maxConnections` is for all of them.
      const unused = closed ? other : server;
      if (!closed) server = other;
      unused.close();
      unused.closeAllConnections();
    },
    close: () =>
      new Promise((resolve) => {
        closed = true;
        egress?.close();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** What of a URL is below the secret path; nothing where it is not. */
function below(prefix: string, url: string): string {
  if (prefix === '') return url;
  if (!url.startsWith(`${prefix}/`)) throw new AtollError('unknown_route', 'there is nothing here');
  return url.slice(prefix.length);
}
