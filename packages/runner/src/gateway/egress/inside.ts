/**
 * HTTP that the proxy reads: plain requests, tunnels to port 80, and tunnels to hosts that a credential is for, whose TLS
 * ends here. Each request in a tunnel is judged by itself: its `Host` is the tunnel's, its credential is looked for anew.
 */
import type { Agent, IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContext } from 'node:tls';
import { AtollError } from '@atoll/protocol/errors';
import type { GatewayCredential } from '@atoll/protocol/runner-link';
import type { AccessRecord } from '@atoll/protocol/schemas/access';
import type { Logger } from '../../logger.ts';
import { refuse } from '../call.ts';
import { refuseOtherHost } from './destination.ts';
import { exchange } from './exchange.ts';
import type { Network } from './network.ts';
import { IDLE_MS } from './tunnel.ts';
import { createAgent, type Route } from './upstream.ts';

export type End = (end: Pick<AccessRecord, 'decision'> & Partial<AccessRecord>) => void;

export type Inside = {
  /** A request that is known to go to its route. Rejects with why it does not. */
  answer(asked: Asked): Promise<void>;
  /** Reads HTTP from a tunnel that was opened. */
  plain(socket: Socket, route: Route): void;
  /** Ends the TLS of a tunnel that was opened, and reads HTTP from it. `end` is told when there is none. */
  secure(socket: Socket, route: Route, context: SecureContext, end: End): void;
  close(): void;
};

type Asked = {
  request: IncomingMessage;
  response: ServerResponse;
  way: Way;
  path: string;
  end: End;
};

export type Way = { route: Route; secure: boolean; agent: Agent };

export function createInside(options: {
  network: Network;
  /** Those for a host. */
  credentials: (host: string) => Promise<readonly GatewayCredential[]>;
  begin: (method: string, destination: Route) => End;
  logger: Logger;
}): Inside {
  const { network, credentials, begin, logger } = options;
  const ways = new WeakMap<Duplex, Way>();
  const server = process.getBuiltinModule('node:http').createServer((request, response) => {
    const way = ways.get(request.socket);
    if (way) void inTunnel(request, response, way);
  });
  server.keepAliveTimeout = IDLE_MS;
  server.on('clientError', (_error, socket) => socket.destroy());

  async function inTunnel(request: IncomingMessage, response: ServerResponse, way: Way): Promise<void> {
    const { method = '', url = '', headers } = request;
    const { route } = way;
    const end = begin(method, route);
    try {
      if (!url.startsWith('/')) throw new AtollError('invalid_request', 'a request in a tunnel names a path');
      refuseOtherHost(headers.host, route);
      await answer({ request, response, way, path: url, end });
    } catch (error) {
      const told = tellable(error, logger);
      end({ decision: 'refused', code: told.code });
      refuse(response, told);
    }
  }

  async function answer({ request, response, way, path, end }: Asked): Promise<void> {
    const { route, secure, agent } = way;
    if (/websocket/i.test(request.headers.upgrade ?? ''))
      throw new AtollError('egress_refused', 'the gateway changes to no other protocol');
    const forHost = await credentials(route.host);
    const ended = exchange({
      request,
      response,
      host: route.host,
      path,
      secure,
      agent,
      credentials: forHost,
    });
    end({ decision: 'allowed', ...(await ended) });
  }

  /** What is read from there goes that way, over connections that end with it. */
  function read(stream: Duplex, socket: Socket, route: Route, secure: boolean): void {
    const agent = createAgent(network, route, secure);
    ways.set(stream, { route, secure, agent });
    socket.on('close', () => agent.destroy());
    server.emit('connection', stream);
  }

  return {
    answer,
    plain(socket, route) {
      endWhenSilent(socket);
      read(socket, socket, route, false);
    },
    secure(socket, route, context, end) {
      endWhenSilent(socket);
      const { TLSSocket } = process.getBuiltinModule('node:tls');
      let other = false;
      const tls = new TLSSocket(socket, {
        isServer: true,
        secureContext: context,
        ALPNProtocols: ['http/1.1'],
        SNICallback(name, done) {
          other = name.toLowerCase() !== route.host;
          done(other ? new Error('another host') : null, context);
        },
      });
      tls.once('error', () => {
        tls.destroy();
        end({
          decision: other ? 'refused' : 'allowed',
          code: other ? 'egress_refused' : 'egress_unreadable',
        });
      });
      tls.once('secure', () => {
        tls.removeAllListeners('error');
        tls.on('error', () => tls.destroy());
        read(tls, socket, route, true);
      });
    },
    close: () => server.closeAllConnections(),
  };
}

function endWhenSilent(socket: Socket): void {
  socket.setTimeout(IDLE_MS, () => socket.destroy());
}

/** As an error of the registry; what is none is a fault of ours, and is logged. */
export function tellable(error: unknown, logger: Logger): AtollError {
  if (error instanceof AtollError) return error;
  logger.error({ err: error }, 'a gateway could not forward a proxy request');
  return new AtollError('internal', undefined, { cause: error });
}
