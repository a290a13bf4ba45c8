/** From a bearer secret to who is asking: a session's token, an API key, or a JWT of the configured issuer. */
import { AtollError } from '@atoll/protocol/errors';
import type { Logger } from '../logger.ts';
import type { Access } from './access.ts';
import type { Jwts, OidcIssuer } from './jwts.ts';
import type { Keys } from './keys.ts';
import type { SessionTokens } from './session-tokens.ts';

/** Rejects with `unauthorized`, and for JWTs with `forbidden` or `issuer_unavailable`. */
export type Recognise = (secret: string) => Promise<Access>;

/** Three parts, of which the first begins as any JSON object in base64url does. */
const JWT = /^eyJ[^.]*\.[^.]*\.[^.]*$/;

export function createRecognise(options: {
  keys: Pick<Keys, 'recognise'>;
  tokens: Pick<SessionTokens, 'isToken' | 'recognise'>;
  oidc: OidcIssuer | undefined;
  logger: Logger;
  now: () => number;
}): Recognise {
  const { keys, tokens, oidc, logger, now } = options;
  let loading: Promise<Jwts> | undefined;

  return async (secret) => {
    if (tokens.isToken(secret)) return tokens.recognise(secret);
    if (!JWT.test(secret)) return keys.recognise(secret);
    if (oidc === undefined)
      throw new AtollError('unauthorized', 'no OIDC issuer is configured here; send an API key');
    loading ??= import('./jwts.ts').then(({ createJwts }) => createJwts({ oidc, logger, now }));
    return (await loading).recognise(secret);
  };
}
