/**
 * The way of a sandbox to the hosts that its agent may reach: a proxy as programs know it (RFC 9110, 3.7 and 9.3.6).
 *
 * Stages of a request: where it wants to go (destination.ts) → on the agent's list → its addresses, looked up once and
 * looked at → one of the three ways: HTTP, a tunnel that nobody looks into, or, for a host that a credential is for, TLS
 * that ends here (tls.ts). A refusal is an answer that says why; each request, tunnel and refusal is told to `record`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import { AtollError } from '@atoll/protocol/errors';
import type { GatewayCredential } from '@atoll/protocol/runner-link';
import type { AccessRecord } from '@atoll/protocol/schemas/access';
import type { Logger } from '../../logger.ts';
import { refuse } from '../call.ts';
import type { SessionAuthority } from './certificates.ts';
import {
  addressesOf,
  type Destination,
  destinationOf,
  refuseOtherHost,
  refuseUnlisted,
} from './destination.ts';
import { credentialsFor } from './injection.ts';
import { createInside, type End, tellable } from './inside.ts';
import { createLimit, type Network } from './network.ts';
import { createPump } from './pump.ts';
import { tunnel } from './tunnel.ts';
import { createAgent, dialled, type Route } from './upstream.ts';

export type Egress = {
  /** A request whose target is a whole URL. */
  request(request: IncomingMessage, response: ServerResponse): void;
  /** `CONNECT`, with what its client sent after it. */
  connect(request: IncomingMessage, head: Buffer): void;
  close(): void;
};

export type EgressOptions = {
  /** Host patterns, in their one spelling. */
  allowed: readonly string[];
  network: Network;
  credentials: () => Promise<readonly GatewayCredential[]>;
  /** Undefined where the sandbox trusts none: then no credential is added. */
  authority: SessionAuthority | undefined;
  record: (record: AccessRecord) => void;
  logger: Logger;
  /** What `Proxy-Authorization` must say, where others can reach the gateway as well. */
  password?: string | undefined;
  now?: () => number;
};

/** The user that goes with the password in the URL of a proxy. */
export const PROXY_USER = 'atoll';

/** Beside the calls that the gateway itself takes, which are as many again. */
const MAX_TUNNELS = 128;
const MAX_SHOWN = 256;

export function createEgress(options: EgressOptions): Egress {
  const { allowed, network, credentials, authority, record, logger, now = Date.now } = options;
  const expected =
    options.password && `Basic ${Buffer.from(`${PROXY_USER}:${options.password}`).toString('base64')}`;
  const tunnels = new Set<Socket>();
  // One sandbox after the other: what one of them looks up slowly holds up itself.
  const oneLookup = createLimit(1);
  const inside = createInside({ network, credentials: forHost, begin, logger });

  /** What is told of a request when it ended, one way or the other. */
  function begin(method: string, { host, port }: { host: string; port: number }): End {
    const startMs = now();
    return (end) =>
      record({
        time: new Date(startMs).toISOString(),
        via: 'egress',
        method: method.slice(0, MAX_SHOWN),
        host: host.slice(0, MAX_SHOWN),
        port,
        sentBytes: 0,
        receivedBytes: 0,
        durationMs: Math.max(0, now() - startMs),
        ...end,
      });
  }

  function refuseStranger({ headers }: IncomingMessage): void {
    if (expected !== undefined && headers['proxy-authorization'] !== expected)
      throw new AtollError('proxy_unauthorized');
  }

  /** Rejects with why it may not, or cannot, be gone there. */
  async function routeTo(destination: Destination): Promise<Route> {
    const { host } = destination;
    refuseUnlisted(allowed, host);
    const resolve = (name: string) => oneLookup(() => network.resolve(name));
    return { ...destination, addresses: await addressesOf(host, allowed, resolve) };
  }

  async function forHost(host: string): Promise<readonly GatewayCredential[]> {
    return credentialsFor(host, await credentials());
  }

  async function plain(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    const [, authority = '', path = ''] = /^http:\/\/([^/?#]*)([^#]*)$/i.exec(url) ?? [];
    const end = begin(method, wanted(authority, 80));
    try {
      refuseStranger(request);
      if (authority === '')
        throw new AtollError(
          'invalid_request',
          'a proxy request is for http://…; https goes through CONNECT',
        );
      const destination = destinationOf(authority, 80);
      refuseOtherHost(request.headers.host, destination);
      if (destination.port !== 80)
        throw new AtollError('egress_refused', 'plain HTTP goes to port 80; https goes through CONNECT');
      const route = await routeTo(destination);
      const agent = createAgent(network, route, false);
      response.on('close', () => agent.destroy());
      const way = { route, secure: false, agent };
      await inside.answer({ request, response, way, path: path.startsWith('/') ? path : `/${path}`, end });
    } catch (error) {
      const told = tellable(error, logger);
      end({ decision: decisionOf(told), code: told.code });
      refuse(response, told, challenge(told));
    }
  }

  async function opened(request: IncomingMessage, head: Buffer): Promise<void> {
    const { socket, url = '' } = request;
    const end = begin('CONNECT', wanted(url, 443));
    tunnels.add(socket);
    socket.on('close', () => tunnels.delete(socket));
    // Its end takes it out of everything else that knows it.
    socket.on('error', () => socket.destroy());
    try {
      refuseStranger(request);
      if (tunnels.size > MAX_TUNNELS)
        throw new AtollError('too_many_tunnels', `a sandbox has ${MAX_TUNNELS} tunnels at most`);
      const destination = destinationOf(url);
      refuseOtherHost(request.headers.host ?? url, destination);
      const route = await routeTo(destination);
      const context = destination.port === 443 ? await contextFor(route.host) : undefined;
      if (socket.destroyed) return;
      if (head.length > 0) socket.unshift(head);
      if (destination.port === 80) inside.plain(establish(socket), route);
      else if (context) inside.secure(establish(socket), route, context, end);
      else end({ decision: 'allowed', ...(await blind(socket, route)) });
    } catch (error) {
      const told = tellable(error, logger);
      end({ decision: decisionOf(told), code: told.code });
      refuseSocket(socket, told);
    }
  }

  /** Undefined where no credential is for the host, whose TLS is then its own. */
  async function contextFor(host: string): Promise<SecureContext | undefined> {
    return authority && (await forHost(host)).length > 0 ? authority.contextFor(host) : undefined;
  }

  async function blind(client: Socket, route: Route): Promise<Partial<AccessRecord>> {
    const pump = createPump(client);
    const upstream = await dialled(network, route, pump.onread);
    if (client.destroyed) upstream.destroy();
    const { refusedName, ...bytes } = await tunnel(establish(client), upstream, { pump, host: route.host });
    return refusedName === undefined ? bytes : { ...bytes, decision: 'refused', code: 'egress_refused' };
  }

  return {
    request: (request, response) => void plain(request, response),
    connect: (request, head) => void opened(request, head),
    close() {
      inside.close();
      for (const socket of tunnels) socket.destroy();
    },
  };
}

/** For the record of what nobody could read. */
function wanted(authority: string, port: 80 | 443): { host: string; port: number } {
  try {
    return destinationOf(authority, port);
  } catch {
    const [, host = authority, digits] = /^(.*?)(?::(\d{1,5}))?$/s.exec(authority) ?? [];
    return { host, port: Math.min(Number(digits ?? port), 65_535) };
  }
}

/** What was let through, and then was not there. */
function decisionOf({ code }: AtollError): AccessRecord['decision'] {
  return code === 'egress_unreachable' || code === 'timed_out' ? 'allowed' : 'refused';
}

/** Some clients say who they are only when they are asked. */
function challenge({ code }: AtollError): Record<string, string> {
  return code === 'proxy_unauthorized' ? { 'proxy-authenticate': 'Basic realm="atoll"' } : {};
}

function establish(socket: Socket): Socket {
  socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
  return socket;
}

function refuseSocket(socket: Socket, error: AtollError): void {
  const body = JSON.stringify(error.toProblem());
  const headers = {
    'content-type': 'application/problem+json',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
    ...challenge(error),
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${error.status} Refused\r\n${lines.join('')}\r\n${body}`);
  // Who does not leave after that is shown out, without a reset that would take the answer along.
  socket.resume();
  socket.setTimeout(1000, () => socket.destroy());
}
