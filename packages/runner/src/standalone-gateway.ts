/** A gateway for an executor that runs outside of any sandbox: on loopback, below a path that nobody guesses. */
import { randomBytes } from 'node:crypto';
import type { CoordinatorApi } from '@atoll/protocol/runner-link';
import type { Row } from './gateway/call.ts';
import { createCoordinatorRow } from './gateway/coordinator.ts';
import type { Owned } from './gateway/executor-routes.ts';
import { createGateway, type Gateway } from './gateway/gateway.ts';
import { createRelay } from './gateway/relay.ts';
import { createStubRow, type RecordedCall } from './gateway/stub.ts';
import type { Logger } from './logger.ts';

export type { RecordedCall } from './gateway/stub.ts';

/** Its address is a URL. Rejects with the system's own error when the port cannot be had. */
export type StandaloneGateway = Omit<Gateway, 'listenOn'>;

/** What the runner would own. */
type Standing = { hostname: string; executorProfile: string };

/** Records what an executor says, and sends it nowhere. Without a session it serves the first one that is named. */
export function openStubGateway(
  options: Standing & { port: number; sessionId: string | undefined; onCall: (call: RecordedCall) => void },
): Promise<StandaloneGateway> {
  const { port, sessionId, onCall } = options;
  return open(port, createStubRow({ sessionId, owned: ownedBy(options), onCall, now: Date.now }));
}

/** For one assignment of a session of that coordinator's. */
export async function openForwardingGateway(
  options: Standing & {
    port: number;
    session: { id: string; epoch: number };
    coordinator: CoordinatorApi;
    logger: Logger;
  },
): Promise<StandaloneGateway> {
  const { port, session, coordinator, logger } = options;
  const relay = createRelay();
  const owned = ownedBy(options);
  const gateway = await open(port, createCoordinatorRow({ coordinator, session, owned, relay, logger }));
  return {
    address: gateway.address,
    async close() {
      await gateway.close();
      relay.close();
    },
  };
}

function open(port: number, row: Row): Promise<StandaloneGateway> {
  const secretPath = `/s/${randomBytes(24).toString('base64url')}`;
  return createGateway({ where: { secretPath, port }, rows: [row] });
}

function ownedBy({ hostname, executorProfile }: Standing): Owned {
  return { hostname, executor_profile: executorProfile };
}
