/** The gateway of one sandbox: what it forwards, and what the executor is told of it before it starts. */
import { randomBytes } from 'node:crypto';
import type { Coordinator, SandboxRequest } from '@atoll/protocol/runner-link';
import type { SandboxOwner, SandboxSpec } from './driver.ts';
import { createAccessLog } from './gateway/access-log.ts';
import { createBudget } from './gateway/budget.ts';
import { createCoordinatorRow } from './gateway/coordinator.ts';
import { createGatewayCredentials } from './gateway/credentials.ts';
import type { Network } from './gateway/egress/network.ts';
import { createGateway } from './gateway/gateway.ts';
import { createMcpRow } from './gateway/mcp.ts';
import { modelApis } from './gateway/model-apis.ts';
import { createModelRow, type Upstreams } from './gateway/models.ts';
import { createRelay } from './gateway/relay.ts';
import type { Logger } from './logger.ts';
import { openEgress } from './sandbox-egress.ts';

export type SandboxGateway = {
  /** As the sandbox sees it. */
  readonly url: string;
  /** For what runs in the sandbox. */
  readonly env: Readonly<Record<string, string>>;
  /** For its bridge alone. */
  readonly bridgeEnv: Readonly<Record<string, string>>;
  readonly sockets: SandboxSpec['sockets'];
  readonly readOnly: SandboxSpec['readOnly'];
  /** Takes calls by that listener from now on; rejects when it is none. */
  listenOn(listener: object): Promise<void>;
  /** Answers from now on; of a parked sandbox it did not. */
  open(): void;
  /** Resolves when all that went through it is where it is logged. */
  close(): Promise<void>;
};

/** A socket that is shown inside, or a port of the host's for a sandbox without an inside. */
export type GatewayPlace = { socketPath: string; owner: SandboxOwner } | 'loopback';

const SOCKET = '/run/atoll/gateway.sock';
/** Inside a sandbox's own network namespace, so every sandbox can have the same. */
const PORT = 4180;
/** Clients want some key to be set; the real one is added outside. */
const PLACEHOLDER = 'added-by-the-atoll-gateway';

export async function openGateway(options: {
  sandbox: Pick<SandboxRequest, 'id' | 'sessionId' | 'executor' | 'budget' | 'egress' | 'parked'>;
  epoch: number;
  where: GatewayPlace;
  /** For what the sandbox is shown of it. */
  directory: string;
  network: Network;
  coordinator: Coordinator;
  hostname: string;
  upstreams: Upstreams;
  /** Whether the runner's lease still runs; without one, always. */
  mayAct?: (() => boolean) | undefined;
  log: Logger;
}): Promise<SandboxGateway> {
  const {
    sandbox,
    epoch,
    where,
    directory,
    network,
    coordinator,
    hostname,
    upstreams,
    mayAct = () => true,
    log: logger,
  } = options;
  const { id, sessionId, executor, budget: limits, egress: allowed = [] } = sandbox;
  const session = sessionId === undefined ? undefined : { id: sessionId, epoch };
  const loopback = where === 'loopback';
  const secret = loopback ? randomBytes(24).toString('base64url') : undefined;
  const access = createAccessLog({
    send: async (report) => session && coordinator.recordAccess({ sessionId: session.id, epoch, ...report }),
    logger,
  });
  const credentials = createGatewayCredentials({ coordinator, session });
  const outside = await openEgress({
    allowed,
    directory,
    id,
    enclosed: !loopback,
    password: secret,
    network,
    credentials: credentials.current,
    record: access.add,
    logger,
  });
  const budget = session && limits && createBudget({ limits, coordinator, session, logger });
  const relay = createRelay();
  const rows = Object.values(modelApis).map((api) =>
    createModelRow({
      api,
      upstream: upstreams[api.name],
      credentials,
      budget,
      relay,
      record: access.add,
      logger,
    }),
  );
  rows.push(createMcpRow({ credentials, relay, record: access.add, logger }));
  if (session && executor) {
    const owned = { hostname, executor_profile: executor.profile };
    rows.push(createCoordinatorRow({ coordinator, session, owned, relay, logger }));
  }
  let open = sandbox.parked !== true;
  const gateway = await createGateway({
    where: loopback ? { secretPath: `/s/${secret}` } : where,
    rows,
    egress: outside.egress,
    shut: () => (open ? (mayAct() ? undefined : 'runner_lost') : 'no_session'),
  });
  const url = loopback ? gateway.address : `http://127.0.0.1:${PORT}`;
  return {
    url,
    env: { ...executorEnv(url, sessionId), ...outside.env(new URL(url)) },
    bridgeEnv: loopback ? {} : { ATOLL_GATEWAY_SOCKET: SOCKET, ATOLL_GATEWAY_PORT: String(PORT) },
    sockets: loopback ? [] : [{ source: gateway.address, target: SOCKET }],
    readOnly: outside.readOnly,
    listenOn: (listener) => gateway.listenOn(listener, PORT),
    open() {
      open = true;
    },
    async close() {
      await gateway.close();
      credentials.close();
      relay.close();
      await Promise.all([access.close(), outside.close()]);
    },
  };
}

/** All that an executor needs to know, and nothing that is worth anything elsewhere (I7). */
function executorEnv(url: string, sessionId: string | undefined): Record<string, string> {
  return {
    ...(sessionId === undefined ? {} : { ATOLL_SESSION_ID: sessionId }),
    ATOLL_API_URL: url,
    AGENT_ORCHESTRATOR_API_URL: url,
    ANTHROPIC_BASE_URL: `${url}/anthropic`,
    ANTHROPIC_API_KEY: PLACEHOLDER,
    OPENAI_BASE_URL: `${url}/openai/v1`,
    OPENAI_API_KEY: PLACEHOLDER,
  };
}
