/**
 * Session tokens: what a gateway acts with for its sandbox. A token names its session and the assignment it was made
 * for, is signed, and is stored nowhere. The signing key is this process's own: a coordinator that starts anew
 * recognises none of the tokens before it, and the gateways of sandboxes that outlived that ask for others.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { AtollError } from '@atoll/protocol/errors';
import { parse } from '@atoll/protocol/parse';
import { id } from '@atoll/protocol/schemas/common';
import { tenant } from '@atoll/protocol/schemas/platform';
import * as v from 'valibot';
import { type Access, sessionAccess } from './access.ts';

const PREFIX = 'atoll_session_';
/** Gateways ask anew long before; a token that leaked is soon worth nothing. */
const LIFETIME_MS = 15 * 60_000;

const claims = v.strictObject({
  tenant,
  sessionId: id('session'),
  epoch: v.number(),
  expiresAtMs: v.number(),
});

export type SessionTokens = {
  /** Whether a secret is of this kind, valid or not. */
  isToken(secret: string): boolean;
  create(session: { tenant: string; sessionId: string; epoch: number }): {
    token: string;
    expiresAt: string;
  };
  /** Throws `unauthorized`. Whether the assignment still counts, the session knows (I6). */
  recognise(token: string): Access;
};

export function createSessionTokens({ now }: { now: () => number }): SessionTokens {
  const key = randomBytes(32);
  const sign = (body: string) => createHmac('sha256', key).update(body).digest();

  return {
    isToken: (secret) => secret.startsWith(PREFIX),
    create(session) {
      const expiresAtMs = now() + LIFETIME_MS;
      const body = Buffer.from(JSON.stringify({ ...session, expiresAtMs })).toString('base64url');
      return {
        token: `${PREFIX}${body}.${sign(body).toString('base64url')}`,
        expiresAt: new Date(expiresAtMs).toISOString(),
      };
    },
    recognise(token) {
      const [body = '', signature = ''] = token.slice(PREFIX.length).split('.');
      const given = Buffer.from(signature, 'base64url');
      const wanted = sign(body);
      if (given.length !== wanted.length || !timingSafeEqual(given, wanted))
        throw new AtollError(
          'unauthorized',
          'this session token is not of this server, or of an earlier start',
        );
      const said = parse(claims, JSON.parse(Buffer.from(body, 'base64url').toString()));
      if (said.expiresAtMs <= now()) throw new AtollError('unauthorized', 'this session token has expired');
      return sessionAccess(said.tenant, { id: said.sessionId, epoch: said.epoch });
    },
  };
}
