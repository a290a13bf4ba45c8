/**
 * The credentials of one gateway: asked for when first needed, and kept in memory for a moment only, so that one that
 * was deleted or replaced is soon of no use, and one that was stored is soon there. Nothing here logs, writes or shows
 * them (I7).
 */
import { AtollError } from '@atoll/protocol/errors';
import type { Coordinator, GatewayCredential } from '@atoll/protocol/runner-link';

export type GatewayCredentials = {
  /**
   * Of those that fit a request, the first counts. Rejects with `credentials_unavailable`: an assignment that is no
   * longer the session's has none, nor has anybody while the coordinator cannot be asked.
   */
  current(): Promise<readonly GatewayCredential[]>;
  /** Forgets them; there are none from then on. */
  close(): void;
};

/** How long a call may still go out with what was true before. */
export const KEEP_MS = 2000;

type Held = { at: number; credentials: readonly GatewayCredential[] };

export function createGatewayCredentials(options: {
  coordinator: Pick<Coordinator, 'credentials'>;
  /** The assignment that the gateway is of. A sandbox without a session has none, and so no credentials. */
  session: { id: string; epoch: number } | undefined;
  /** A clock that nobody sets. */
  now?: () => number;
}): GatewayCredentials {
  const { coordinator, session, now = () => performance.now() } = options;
  let held: Held | undefined;
  let asking: Promise<readonly GatewayCredential[]> | undefined;
  let closed = false;

  async function ask(sessionId: string, epoch: number): Promise<readonly GatewayCredential[]> {
    // Their age counts from the question: what changed since then may not be in the answer.
    const at = now();
    held = undefined;
    try {
      const credentials = await coordinator.credentials({ sessionId, epoch });
      if (!closed) held = { at, credentials };
      return credentials;
    } catch (error) {
      const why = error instanceof AtollError ? error.code : 'internal';
      throw new AtollError('credentials_unavailable', `the gateway has no credentials now (${why})`, {
        cause: error,
      });
    }
  }

  return {
    async current() {
      if (closed || session === undefined) return [];
      if (held !== undefined && now() - held.at < KEEP_MS) return held.credentials;
      asking ??= ask(session.id, session.epoch).finally(() => {
        asking = undefined;
      });
      return asking;
    },
    close() {
      closed = true;
      held = undefined;
    },
  };
}
