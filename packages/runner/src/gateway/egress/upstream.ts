/** Connections from the gateway to a destination: to the addresses that were looked at, and with TLS only when verified. */
import type { Agent } from 'node:http';
import { isIP, type OnReadOpts, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { AtollError } from '@atoll/protocol/errors';
import { bare, type Destination } from './destination.ts';
import { codeOf, type Network } from './network.ts';
import { dialStraight } from './straight.ts';

/** A destination that was let through, by its addresses. */
export type Route = Destination & { readonly addresses: readonly string[] };

const HANDSHAKE_MS = 10_000;

/** A socket that is connected. Rejects with `egress_unreachable` or `timed_out`. */
export async function dialled(
  network: Network,
  { host, port, addresses }: Route,
  onread?: OnReadOpts,
): Promise<Socket> {
  const socket = network.dial(addresses, port, onread);
  return until(socket, 'connect', host);
}

/** Keeps connections to one destination until it is destroyed. */
export function createAgent(network: Network, route: Route, secure: boolean): Agent {
  const transport = process.getBuiltinModule(secure ? 'node:https' : 'node:http');
  const agent = new transport.Agent({ keepAlive: true });
  agent.createConnection = (_options, done) => {
    void connect(network, route, secure).then(
      (socket) => done?.(null, socket),
      (error: Error) => (done as ((error: Error) => void) | undefined)?.(error),
    );
    return undefined;
  };
  return agent;
}

async function connect(network: Network, route: Route, secure: boolean): Promise<Socket> {
  if (secure) return overTls(network, route, await dialled(network, route));
  const { host, port, addresses } = route;
  return until(
    dialStraight((onread) => network.dial(addresses, port, onread)),
    'connect',
    host,
  );
}

function overTls(network: Network, { host }: Route, socket: Socket): Promise<TLSSocket> {
  const address = bare(host);
  const tls = process.getBuiltinModule('node:tls').connect({
    socket,
    // Its certificate is for this, a name or an address; only a name is asked for by name.
    host: address,
    servername: isIP(address) === 0 ? host : '',
    ALPNProtocols: ['http/1.1'],
    ...(network.authorities ? { ca: [...network.authorities] } : {}),
  });
  const timer = setTimeout(() => tls.destroy(new AtollError('timed_out')), HANDSHAKE_MS);
  return until(tls, 'secureConnect', host).finally(() => clearTimeout(timer));
}

function until<S extends Socket>(socket: S, event: string, host: string): Promise<S> {
  return new Promise((resolve, reject) => {
    const failed = (error?: Error) => {
      socket.destroy();
      if (error instanceof AtollError) return reject(error);
      const reason = error ? codeOf(error) : 'closed';
      reject(new AtollError('egress_unreachable', `${host} cannot be reached (${reason})`));
    };
    const closed = () => failed();
    socket.once('error', failed);
    socket.once('close', closed);
    socket.once(event, () => {
      socket.off('error', failed);
      socket.off('close', closed);
      resolve(socket);
    });
  });
}
