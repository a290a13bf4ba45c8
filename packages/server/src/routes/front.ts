/**
 * What stands at the port. A bare HTTP server is there long before the framework is loaded: it answers health itself,
 * always, and hands every other request to the app. Those that come before the app is there wait for it with their
 * bodies unread, so that each holds no more than its socket's buffers.
 */
import type { Server as HttpServer, RequestListener, ServerResponse } from 'node:http';
import type { AddressInfo, ListenOptions, Server as NetServer, Socket } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { AtollError, asAtollError } from '@atoll/protocol/errors';
import type { Logger } from '../logger.ts';
import { refuseConnection } from './no-request.ts';

export type Front = {
  /** For the app, which is to answer on it. */
  readonly server: HttpServer;
  /** Resolves with the URL. Rejects with a plain Error when the address cannot be had. */
  listen(options: { host: string; port: number }): Promise<string>;
  /** A connection inside of this process. */
  connect(): Duplex;
  /** Takes no more connections and ends those that are open. */
  close(): Promise<void>;
};

export type FrontOptions = {
  /** What is asked for there is answered before anything else is loaded. */
  healthPath: string;
  health: () => Promise<object>;
  /** Resolves with what answers everything else. Asked again for each request. */
  app: () => Promise<RequestListener>;
  /** Serves https with it; in PEM. */
  tls?: { cert: string; key: string } | undefined;
  logger: Logger;
};

const LIMITS = {
  headersTimeout: 60_000,
  // An upload may take as long as it takes.
  requestTimeout: 0,
  // Above a client's idle time, so that no reused connection dies under a request.
  keepAliveTimeout: 75_000,
  // Its absence is answered below, as a problem like all others.
  requireHostHeader: false,
};

export function createFront({ healthPath, health, app, tls, logger }: FrontOptions): Front {
  // By `import`, every lazy export of these would be loaded with them: the WebSocket client alone takes 20 ms.
  const http = process.getBuiltinModule('node:http');
  const net = process.getBuiltinModule('node:net');
  const answer: RequestListener = (request, response) => {
    if (request.headers.host === undefined && request.httpVersion === '1.1')
      return refuse(response, new AtollError('invalid_request', 'a request has a Host header'));
    const answered =
      request.method === 'GET' && request.url === healthPath
        ? health().then((report) => sendJson(response, 200, 'application/json; charset=utf-8', report))
        : app().then((handle) => handle(request, response));
    answered.catch((error) => refuse(response, error));
  };
  const server = tls
    ? process.getBuiltinModule('node:https').createServer({ ...LIMITS, ...tls }, answer)
    : http.createServer(LIMITS, answer);
  server.on('clientError', (error, socket) => refuseConnection(error, socket as Socket));
  // What it asks for beyond 100-continue may be ignored (RFC 9110, 10.1.1).
  server.on('checkExpectation', answer);
  /** Of the further addresses of `localhost`. */
  const doors: NetServer[] = [];

  function refuse(response: ServerResponse, error: unknown): void {
    const known = asAtollError(error);
    if (known.status === 500) logger.error({ err: error }, 'a request failed');
    // What is begun cannot become another answer, only end: the client sees that it is not whole.
    if (response.headersSent) response.destroy();
    else sendJson(response, known.status, 'application/problem+json', known.toProblem());
  }

  return {
    server,
    async listen({ host, port }) {
      const [first = host, ...others] = await addressesOf(host);
      await bound(server, { host: first, port });
      const { address, port: taken } = server.address() as AddressInfo;
      for (const other of others) {
        const options = { allowHalfOpen: true, noDelay: true };
        const door = net.createServer(options, (socket) => server.emit('connection', socket));
        // The name is reachable by its first address already.
        await bound(door, { host: other, port: taken }).then(
          () => doors.push(door),
          () => undefined,
        );
      }
      return urlOf(tls ? 'https' : 'http', address, taken);
    },
    connect() {
      const [here, there] = duplexPair();
      server.emit('connection', there);
      return here;
    },
    async close() {
      const all = [server, ...doors].filter(({ listening }) => listening);
      const closed = all.map((each) => new Promise<void>((resolve) => each.close(() => resolve())));
      server.closeAllConnections();
      await Promise.all(closed);
    },
  };
}

function sendJson(response: ServerResponse, status: number, type: string, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, { 'content-type': type, 'content-length': body.length }).end(body);
}

/** A name of this machine may stand for an IPv4 and an IPv6 address, and a client may take either. */
async function addressesOf(host: string): Promise<string[]> {
  if (host !== 'localhost') return [host];
  const { lookup } = process.getBuiltinModule('node:dns/promises');
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function bound(server: NetServer, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function urlOf(scheme: string, address: string, port: number): string {
  if (address === '0.0.0.0') return `${scheme}://127.0.0.1:${port}`;
  return `${scheme}://${address.includes(':') ? `[${address}]` : address}:${port}`;
}
