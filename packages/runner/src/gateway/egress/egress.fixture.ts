/** An egress as tests see it: names that mean servers on loopback, and what its client, inside, says and gets. */
import { once } from 'node:events';
import http, { type IncomingMessage, type RequestListener } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import tls from 'node:tls';
import { AtollError } from '@atoll/protocol/errors';
import type { GatewayCredential } from '@atoll/protocol/runner-link';
import type { AccessRecord } from '@atoll/protocol/schemas/access';
import { createGateway } from '../gateway.ts';
import { createSessionAuthority } from './certificates.ts';
import type { Network } from './network.ts';
import { createEgress } from './proxy.ts';

export type Reply = { status: number; headers: http.IncomingHttpHeaders; text: string };

/** One answer of a resolver after the other; the last one stays. */
type Names = Record<string, string[][]>;

const logger = { debug() {}, info() {}, warn() {}, error() {} };

export async function openEgress(options: {
  allowed: readonly string[];
  names?: Names;
  credentials?: readonly GatewayCredential[];
  password?: string;
}) {
  const [outer, authority] = await Promise.all([createSessionAuthority(), createSessionAuthority()]);
  const records: AccessRecord[] = [];
  const dialled: string[] = [];
  const asked: string[] = [];
  const servers = new Map<string, Server>();
  const names = structuredClone(options.names ?? {});
  let credentials = options.credentials ?? [];

  const network: Network = {
    async resolve(host) {
      asked.push(host);
      const answers = names[host];
      const answer = answers && answers.length > 1 ? answers.shift() : answers?.[0];
      if (!answer) throw new AtollError('egress_unreachable', `${host} has no address`);
      return answer;
    },
    dial(addresses, port, onread) {
      dialled.push(`${addresses.join(',')} ${port}`);
      const bound = servers.get(`${addresses[0]} ${port}`)?.address() as AddressInfo | undefined;
      const to = { host: '127.0.0.1', port: bound?.port ?? 1, allowHalfOpen: true };
      return connect({ ...to, ...(onread ? { onread } : {}) });
    },
    authorities: [outer.certificate],
  };
  const egress = createEgress({
    allowed: options.allowed,
    network,
    credentials: async () => credentials,
    authority,
    record: (record) => records.push(record),
    logger,
    password: options.password,
  });
  const gateway = await createGateway({ where: { secretPath: '/s/x' }, rows: [], egress });
  const { hostname, port } = new URL(gateway.address);

  async function serve(at: string, server: Server): Promise<void> {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    servers.set(at, server);
  }

  async function read(request: http.ClientRequest): Promise<Reply> {
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const text = Buffer.concat(await response.toArray()).toString('latin1');
    return { status: response.statusCode ?? 0, headers: response.headers, text };
  }

  /** A request as a proxy gets it, its target as it is. */
  function ask(target: string, init: http.RequestOptions & { body?: string } = {}): Promise<Reply> {
    const { body, ...rest } = init;
    const request = http.request({ hostname, port, path: target, agent: false, ...rest });
    request.end(body);
    return read(request);
  }

  async function open(path: string, headers = { host: path }): Promise<{ socket: Socket } | Reply> {
    const request = http.request({
      hostname,
      port,
      method: 'CONNECT',
      path,
      headers,
      agent: false,
    });
    request.end();
    const [response, socket, head] = (await once(request, 'connect')) as [IncomingMessage, Socket, Buffer];
    socket.unshift(head);
    if (response.statusCode === 200) return { socket };
    const text = Buffer.concat(await socket.toArray()).toString();
    return { status: response.statusCode ?? 0, headers: response.headers, text };
  }

  async function tunnel(authorityOf: string): Promise<Socket> {
    const opened = await open(authorityOf);
    if ('socket' in opened) return opened.socket;
    throw new Error(`${opened.status} ${opened.text}`);
  }

  return {
    address: gateway.address,
    records,
    dialled,
    asked,
    authority,
    ask,
    open,
    tunnel,
    setCredentials(next: readonly GatewayCredential[]) {
      credentials = next;
    },
    /** A plain HTTP server at an address. */
    http: (address: string, listener: RequestListener) => serve(`${address} 80`, http.createServer(listener)),
    /** One whose certificate is for `host`, by the authority that the gateway trusts. */
    async https(address: string, host: string, listener: RequestListener, by = outer) {
      const inner = http.createServer(listener);
      const secureContext = await by.contextFor(host);
      const server = createServer((socket) => {
        const secure = new tls.TLSSocket(socket, { isServer: true, secureContext });
        secure.on('error', () => undefined).on('secure', () => inner.emit('connection', secure));
      });
      await serve(`${address} 443`, server);
    },
    /** Any server that speaks first, or not at all. */
    raw: (address: string, listener: (socket: Socket) => void) =>
      serve(`${address} 443`, createServer({ allowHalfOpen: true }, listener)),
    /** TLS to whoever ends it, as a program inside would have it. */
    async secure(authorityOf: string, name: string, ca = [authority.certificate, outer.certificate]) {
      const socket = await tunnel(authorityOf);
      const secure = tls.connect({ socket, servername: name, host: name, ca, ALPNProtocols: ['http/1.1'] });
      await once(secure, 'secureConnect');
      return secure;
    },
    /** Requests within a tunnel, one after the other. */
    within(socket: Socket) {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      agent.createConnection = () => socket;
      return (path: string, { body, ...rest }: http.RequestOptions & { body?: string }) => {
        const request = http.request({ agent, path, ...rest });
        request.end(body);
        return read(request);
      };
    },
    /** Until that many were told. */
    async told(count: number) {
      while (records.length < count) await new Promise(setImmediate);
      return records;
    },
    async close() {
      await gateway.close();
      for (const server of servers.values()) server.close();
    },
  };
}

export type TestEgress = Awaited<ReturnType<typeof openEgress>>;

export function bearer(
  name: string,
  hosts: string[],
  bounds: Partial<GatewayCredential> = {},
): GatewayCredential {
  const secret = `secret-of-${name}`;
  return {
    name,
    version: 1,
    target: { at: 'hosts', hosts },
    methods: undefined,
    paths: undefined,
    header: { name: 'authorization', value: `Bearer ${secret}` },
    secrets: [secret],
    ...bounds,
  };
}
