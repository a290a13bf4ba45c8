/**
 * A token that is renewed before it ends. Any number of callers share one request for it. While the token that is there
 * holds, nobody waits for the next one, and that it cannot be had yet harms nobody.
 */
import type { Logger } from '../logger.ts';

export type TimedToken = { token: string; expiresAtMs: number };

/** What a runner, or a gateway, shows of itself. */
export type TokenSource = {
  /** `refused`: a token of an earlier answer that was turned down; it is not given again where there can be another. */
  token(refused?: string): Promise<string>;
};

/** Before its end; sooner for one that does not live long. */
const EARLY_MS = 60_000;
/** After an early attempt that failed. */
const RETRY_MS = 5000;

export function createRenewed(options: {
  /** What it rejects with, callers without a token get. */
  obtain: () => Promise<TimedToken>;
  now: () => number;
  logger: Logger;
}): TokenSource {
  const { obtain, now, logger } = options;
  let held: (TimedToken & { renewAtMs: number }) | undefined;
  let obtaining: Promise<string> | undefined;

  function renew(): Promise<string> {
    obtaining ??= obtain()
      .then(hold)
      .finally(() => {
        obtaining = undefined;
      });
    return obtaining;
  }

  function hold({ token, expiresAtMs }: TimedToken): string {
    const earlyMs = Math.min(EARLY_MS, (expiresAtMs - now()) / 4);
    held = { token, expiresAtMs, renewAtMs: expiresAtMs - earlyMs };
    return token;
  }

  function renewEarly(): void {
    renew().catch((err) => {
      logger.warn({ err }, 'a token could not be renewed yet; the one that is there still holds');
      if (held) held.renewAtMs = now() + RETRY_MS;
    });
  }

  return {
    async token(refused) {
      if (held?.token === refused) held = undefined;
      if (held === undefined || held.expiresAtMs <= now()) return renew();
      const { token } = held;
      if (held.renewAtMs <= now()) renewEarly();
      return token;
    },
  };
}
