/**
 * Access tokens of an OIDC issuer: JWTs, checked against the keys that the issuer publishes. Loaded with the first one
 * that comes.
 *
 * Stages: readable and signed in an accepted way, which costs the issuer nothing → its keys, from the discovery document
 * at first, then cached → signature, `iss`, `aud`, `exp`, `nbf` → role and tenant by their claims. What a refusal says of
 * claims, it says of tokens with a good signature only.
 */
import { AtollError } from '@atoll/protocol/errors';
import { isSafeUrl } from '@atoll/protocol/loopback';
import { type Role, roles, tenant as tenantName } from '@atoll/protocol/schemas/platform';
import {
  createRemoteJWKSet,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import * as v from 'valibot';
import type { Logger } from '../logger.ts';
import { type Access, access } from './access.ts';

/** Whose tokens are taken, and how they say who is asking. */
export type OidcIssuer = {
  /** https, or on this machine. */
  issuer: string;
  audience: string;
  /** The claim that holds `admin`, `client` or `runner`. */
  roleClaim: string;
  /** The claim that holds the tenant. Without one, everybody is of the tenant `default`. */
  tenantClaim?: string | undefined;
};

export type JwtOptions = {
  oidc: OidcIssuer;
  logger: Logger;
  now: () => number;
  /** For each request to the issuer. Default 5 s. */
  timeoutMs?: number;
};

export type Jwts = {
  /** Rejects with `unauthorized`, `forbidden`, or `issuer_unavailable` when its keys cannot be had. */
  recognise(token: string): Promise<Access>;
};

/** Asymmetric ones alone: what the issuer publishes can make no token. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const MAX_CHARACTERS = 8 * 1024;
const CLOCK_TOLERANCE_S = 30;
/** A key that is not known has the keys fetched anew, at most this often. */
const COOLDOWN_MS = 10_000;

const discoveryDocument = v.object({ issuer: v.string(), jwks_uri: v.string() });

type Discovered = { issuer: string; keys: JWTVerifyGetKey };

export function createJwts({ oidc, logger, now, timeoutMs = 5000 }: JwtOptions): Jwts {
  let discovering: Promise<Discovered> | undefined;

  /** Once; after a failure, again with the next token. */
  function discovered(): Promise<Discovered> {
    discovering ??= discover(oidc.issuer, timeoutMs).catch((error) => {
      discovering = undefined;
      throw error;
    });
    return discovering;
  }

  async function verified(token: string): Promise<JWTPayload> {
    const { issuer, keys } = await discovered();
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      audience: oidc.audience,
      algorithms: ALGORITHMS,
      requiredClaims: ['exp'],
      clockTolerance: CLOCK_TOLERANCE_S,
      currentDate: new Date(now()),
    });
    return payload;
  }

  return {
    async recognise(token) {
      refuseUnreadable(token);
      const claims = await verified(token).catch((error) => {
        throw refusal(error);
      });
      const caller = { issuer: oidc.issuer, sub: String(claims.sub ?? '').slice(0, 256) };
      try {
        const known = access(tenantOf(claims, oidc.tenantClaim), roleOf(claims, oidc.roleClaim));
        logger.debug({ ...caller, tenant: known.tenant, role: known.role }, 'a caller by a JWT');
        return known;
      } catch (error) {
        logger.warn({ ...caller, err: error }, 'a JWT says no role or tenant to act in');
        throw error;
      }
    },
  };
}

function refuseUnreadable(token: string): void {
  if (token.length > MAX_CHARACTERS)
    throw new AtollError('unauthorized', `a token has at most ${MAX_CHARACTERS} characters`);
  let algorithm: unknown;
  try {
    algorithm = decodeProtectedHeader(token).alg;
  } catch {
    throw new AtollError('unauthorized', 'this token cannot be read as a JWT');
  }
  if (!ALGORITHMS.some((accepted) => accepted === algorithm)) throw refusal(new errors.JOSEAlgNotAllowed());
}

async function discover(configured: string, timeoutMs: number): Promise<Discovered> {
  const url = `${configured.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const signal = AbortSignal.timeout(timeoutMs);
  const response = await fetch(url, { redirect: 'error', signal });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  const { issuer, jwks_uri } = v.parse(discoveryDocument, await response.json());
  if (issuer.replace(/\/$/, '') !== configured.replace(/\/$/, ''))
    throw new Error(`${url} is of another issuer`);
  if (!isSafeUrl(jwks_uri)) throw new Error(`${url} names a jwks_uri without TLS`);
  const limits = { timeoutDuration: timeoutMs, cooldownDuration: COOLDOWN_MS };
  return { issuer, keys: createRemoteJWKSet(new URL(jwks_uri), limits) };
}

/** Whatever is not about the token is about getting the keys. */
function refusal(error: unknown): AtollError {
  const sentence = sentenceFor(error);
  if (sentence !== undefined) return new AtollError('unauthorized', sentence);
  return new AtollError('issuer_unavailable', 'the keys that check this token cannot be had', {
    cause: error,
  });
}

function sentenceFor(error: unknown): string | undefined {
  if (error instanceof errors.JWTExpired) return 'this token has expired';
  if (error instanceof errors.JWTClaimValidationFailed) return CLAIM_SENTENCES[error.claim] ?? UNREADABLE;
  if (error instanceof errors.JOSEAlgNotAllowed) return 'this token is not signed in an accepted way';
  if (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JWSSignatureVerificationFailed
  )
    return 'this token is not signed with a key of the issuer';
  if (
    error instanceof errors.JWSInvalid ||
    error instanceof errors.JWTInvalid ||
    error instanceof errors.JOSENotSupported
  )
    return UNREADABLE;
  return undefined;
}

const UNREADABLE = 'this token cannot be read as a JWT';
const CLAIM_SENTENCES: Readonly<Record<string, string>> = {
  iss: 'this token is of another issuer',
  aud: 'this token is for another audience',
  nbf: 'this token is not valid yet',
  exp: 'this token does not say when it ends',
};

/** Some issuers can say roles as a list only. */
function roleOf(claims: JWTPayload, claim: string): Role {
  const value = claims[claim];
  const said: unknown[] = Array.isArray(value) ? value : [value];
  if (value === undefined || said.length === 0)
    throw new AtollError('forbidden', `this token has no claim "${claim}", which would say its role`);
  const role = roles.find((known) => said.length === 1 && known === said[0]);
  if (role === undefined)
    throw new AtollError(
      'forbidden',
      `the claim "${claim}" of this token must be one of ${roles.join(', ')}`,
    );
  return role;
}

function tenantOf(claims: JWTPayload, claim: string | undefined): string {
  if (claim === undefined) return 'default';
  const said = v.safeParse(tenantName, claims[claim]);
  if (!said.success)
    throw new AtollError('forbidden', `the claim "${claim}" of this token does not name a tenant`);
  return said.output;
}
