/**
 * A real OIDC provider on loopback, for machines that get tokens by client credentials. It takes `audience` as Auth0
 * does, and gives JWTs that say what each client's `claims` say.
 */
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { Provider } from 'oidc-provider';

export type MachineClient = {
  id: string;
  secret: string;
  claims?: Record<string, unknown>;
  /** How it proves itself. Default `client_secret_post`. */
  auth?: 'client_secret_post' | 'client_secret_basic';
};

export type OidcIssuerStandIn = {
  readonly issuer: string;
  /** How often each path was asked for. */
  readonly asked: ReadonlyMap<string, number>;
  /** From here on it signs with a new key, and publishes no other. */
  rotate(): void;
  /** Nobody answers any more, until `listen`. */
  down(): Promise<void>;
  listen(): Promise<void>;
  /** A token for a client, as the client itself would get it. */
  token(client: MachineClient, audience?: string): Promise<string>;
  [Symbol.asyncDispose](): Promise<void>;
};

export const AUDIENCE = 'https://atoll.example';

export async function startOidcIssuer(options: {
  clients: readonly MachineClient[];
  lifetimeS?: number;
}): Promise<OidcIssuerStandIn> {
  const { clients, lifetimeS = 3600 } = options;
  const asked = new Map<string, number>();
  let answer: http.RequestListener = () => undefined;
  let server = http.createServer();
  let port = 0;

  async function listen(): Promise<void> {
    server = http.createServer((request, response) => {
      const [path = ''] = (request.url ?? '').split('?');
      asked.set(path, (asked.get(path) ?? 0) + 1);
      answer(request, response);
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  }
  async function down(): Promise<void> {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }
  await listen();
  const issuer = `http://127.0.0.1:${port}`;
  const rotate = () => {
    answer = providerOf(issuer, clients, lifetimeS).callback();
  };
  rotate();

  return {
    issuer,
    asked,
    rotate,
    down,
    listen,
    async token({ id, secret }, audience = AUDIENCE) {
      const body = new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: id,
        client_secret: secret,
        audience,
      });
      const response = await fetch(`${issuer}/token`, { method: 'POST', body });
      const { access_token } = (await response.json()) as { access_token?: string };
      if (access_token === undefined) throw new Error(`no token: ${response.status}`);
      return access_token;
    },
    async [Symbol.asyncDispose]() {
      if (server.listening) await down();
    },
  };
}

function providerOf(issuer: string, clients: readonly MachineClient[], lifetimeS: number): Provider {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'RS256', use: 'sig' };
  return new Provider(issuer, {
    jwks: { keys: [key] },
    ttl: { ClientCredentials: lifetimeS },
    cookies: { keys: [randomUUID()] },
    clients: clients.map(({ id, secret, auth = 'client_secret_post' }) => ({
      client_id: id,
      client_secret: secret,
      token_endpoint_auth_method: auth,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    })),
    extraTokenClaims: (_context: unknown, token: { clientId: string }) =>
      clients.find(({ id }) => id === token.clientId)?.claims,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (context: { oidc: { body?: { audience?: string } } }) => context.oidc.body?.audience,
        getResourceServerInfo: (_context: unknown, audience: string) => ({
          scope: 'sessions',
          audience,
          accessTokenTTL: lifetimeS,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  });
}
