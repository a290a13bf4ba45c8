/**
 * What a runner shows to its coordinator: an API key, or a token that it gets from an OIDC issuer by client credentials
 * (RFC 6749, 4.4). The client's secret goes to the issuer's token endpoint, and into nothing that is said about it.
 */
import { AtollError } from '@atoll/protocol/errors';
import { isSafeUrl } from '@atoll/protocol/loopback';
import type { ClientAuth, Configuration } from 'openid-client';
import type { Logger } from '../logger.ts';
import { createRenewed, type TimedToken, type TokenSource } from './renewed.ts';

export type { TokenSource } from './renewed.ts';

export type OidcClient = {
  /** https, or on this machine. */
  issuer: string;
  clientId: string;
  clientSecret: string;
  /** Sent as the parameter `audience`, as Auth0 wants it. */
  audience?: string | undefined;
  scope?: string | undefined;
};

export type OidcTokenOptions = {
  client: OidcClient;
  logger: Logger;
  now?: () => number;
  /** For each request to the issuer. Default 5 s. */
  timeoutMs?: number;
};

/** For an answer that does not say how long its token holds. */
const UNSAID_LIFETIME_S = 60;

/** Those of RFC 6749, RFC 8707 and Auth0: only what cannot hold a secret is repeated. */
const REASONS = [
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
  'invalid_target',
  'access_denied',
];

type Library = typeof import('openid-client');

export function keyTokens(key: string): TokenSource {
  return { token: async () => key };
}

/** Rejects with `issuer_unavailable`, or `issuer_refused`. Nothing is loaded and nobody asked before the first token. */
export function createOidcTokens(options: OidcTokenOptions): TokenSource {
  const { client, logger, now = Date.now, timeoutMs = 5000 } = options;
  const { audience, scope } = client;
  const parameters = { ...(audience && { audience }), ...(scope && { scope }) };
  let discovering: Promise<Configuration> | undefined;

  /** Once; after a failure, again with the next attempt. */
  function discovered(): Promise<Configuration> {
    discovering ??= discover(client, timeoutMs).catch((error) => {
      discovering = undefined;
      throw error;
    });
    return discovering;
  }

  async function obtain(): Promise<TimedToken> {
    const library = await import('openid-client');
    const askedAtMs = now();
    try {
      const answer = await library.clientCredentialsGrant(await discovered(), parameters);
      const lifetimeS = answer.expires_in ?? UNSAID_LIFETIME_S;
      return { token: answer.access_token, expiresAtMs: askedAtMs + lifetimeS * 1000 };
    } catch (error) {
      throw failure(error, library);
    }
  }

  return createRenewed({ obtain, now, logger });
}

async function discover({ issuer, clientId, clientSecret }: OidcClient, timeoutMs: number) {
  const { allowInsecureRequests, ClientSecretBasic, ClientSecretPost, discovery } = await import(
    'openid-client'
  );
  const post = ClientSecretPost(clientSecret);
  const basic = ClientSecretBasic(clientSecret);
  // Without a list, an issuer takes the second (OpenID Connect Discovery 1.0, 3).
  const auth: ClientAuth = (server, ...rest) =>
    (server.token_endpoint_auth_methods_supported?.includes('client_secret_post') ? post : basic)(
      server,
      ...rest,
    );
  const found = await discovery(new URL(issuer), clientId, undefined, auth, {
    timeout: timeoutMs / 1000,
    execute: new URL(issuer).protocol === 'http:' ? [allowInsecureRequests] : [],
  });
  if (!isSafeUrl(found.serverMetadata().token_endpoint ?? ''))
    throw new AtollError('issuer_refused', 'the issuer names no token endpoint with TLS');
  return found;
}

/** Says what kind of failure it is and repeats nothing else: an answer may hold what was sent. */
function failure(error: unknown, { ResponseBodyError, WWWAuthenticateChallengeError }: Library): AtollError {
  if (error instanceof AtollError) return error;
  const answered = error instanceof ResponseBodyError || error instanceof WWWAuthenticateChallengeError;
  if (answered && error.status < 500) {
    const said = 'error' in error ? error.error : undefined;
    const reason = REASONS.find((known) => known === said) ?? `status ${error.status}`;
    return new AtollError('issuer_refused', `the OIDC issuer gave no token: ${reason}`);
  }
  return new AtollError('issuer_unavailable', `the OIDC issuer cannot be asked: ${reasonOf(error)}`);
}

/** A code of the system's or the library's. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'no reason';
  const code = 'code' in error ? error.code : undefined;
  if (typeof code === 'string') return code;
  return error.cause === undefined ? error.name : reasonOf(error.cause);
}
