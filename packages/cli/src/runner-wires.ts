/** How `atoll runner` and its coordinator reach each other: the coordinator calls it over HTTP, or it dials by gRPC. */
import { hash, timingSafeEqual } from 'node:crypto';
import { AtollError } from '@atoll/protocol/errors';
import type { Coordinator } from '@atoll/protocol/runner-link';
import { type RunnerOperationResult, runnerOperations } from '@atoll/protocol/runner-operations';
import type { Logger } from '@atoll/runner';
import { createRemoteCoordinator } from '@atoll/runner/coordinator';
import type { HeldLink } from '@atoll/runner/held-link';
import type { TokenSource } from '@atoll/runner/own-tokens';
import { type LeaseRequests, leaseRequests } from '@atoll/runner/registration';
import type { App } from '@atoll/server/app';
import { codeOf } from './failure.ts';
import { version } from './version.ts';

export type Wire = {
  readonly coordinator: Coordinator;
  readonly lease: LeaseRequests;
  /** Where the runner is, for the coordinator or for people. */
  readonly address: string;
  readonly listens: boolean;
  /** Does what the coordinator asks from now on. */
  serve(link: HeldLink, health: () => Promise<RunnerHealth>): Promise<void>;
  close(): Promise<void>;
};

export type RunnerHealth = RunnerOperationResult<'health.show'>;

const DEFAULT_PORT = 4200;

export async function openHttpWire(options: {
  server: string;
  tokens: TokenSource;
  at: { host: string; port: number | undefined };
  /** How others reach it; default: where it listens. */
  url: string | undefined;
  tls: { cert: string; key: string } | undefined;
  /** What the coordinator proves itself with. */
  callbackToken: string;
  log: Logger;
}): Promise<Wire> {
  const { server, tokens, tls, callbackToken, log } = options;
  const isCallbackToken = isSecret(callbackToken);
  const { createFront } = await import('@atoll/server/front');
  let app: Promise<App> | undefined;
  let healthOf: (() => Promise<RunnerHealth>) | undefined;
  const serving = <T>(value: T | undefined): T => {
    if (value === undefined) throw new AtollError('shutting_down');
    return value;
  };
  const front = createFront({
    healthPath: '/runner/health',
    health: () => serving(healthOf)(),
    app: async () => (await serving(app)).handle,
    tls,
    logger: log,
  });
  const listening = await listen(front, options.at);
  const coordinator = createRemoteCoordinator({ url: server, tokens, logger: log });

  return {
    coordinator,
    lease: leaseRequests(coordinator.leaseRequests),
    address: options.url ?? listening,
    listens: true,
    async serve(link, health) {
      const [{ createApp }, { createRunnerHandlers }, { access }] = await Promise.all([
        import('@atoll/server/app'),
        import('@atoll/runner/http-handlers'),
        import('@atoll/server/access'),
      ]);
      healthOf = health;
      app = createApp({
        server: front.server,
        title: 'Atoll runner',
        operations: runnerOperations,
        handlers: createRunnerHandlers({ link, health }),
        recognise: async (secret) => {
          if (!isCallbackToken(secret))
            throw new AtollError('unauthorized', 'that is not the callback token');
          return access('default', 'admin');
        },
        version,
        logger: log,
      });
      await app;
    },
    async close() {
      await front.close();
      await (await app)?.close();
    },
  };
}

export async function openGrpcWire(options: {
  server: string;
  tokens: TokenSource;
  tls: { ca: Buffer | undefined; cert: Buffer | undefined; key: Buffer | undefined };
  log: Logger;
}): Promise<Wire> {
  const { tokens, log: logger } = options;
  const { createGrpcConnection, createGrpcCoordinator, createGrpcService } = await import(
    '@atoll/runner/grpc'
  );
  const target = { server: options.server, tls: options.tls };
  const connection = createGrpcConnection({ target, tokens, logger });
  return {
    coordinator: createGrpcCoordinator({ connection, tokens, logger }),
    lease: connection.requests,
    address: options.server,
    listens: false,
    async serve(link) {
      connection.serve(createGrpcService({ link, logger }));
    },
    async close() {
      connection.close();
    },
  };
}

/** Without a port that was asked for, the usual one, or a free one where another runner has that. */
async function listen(
  front: { listen(at: { host: string; port: number }): Promise<string> },
  { host, port }: { host: string; port: number | undefined },
): Promise<string> {
  if (port !== undefined) return front.listen({ host, port });
  try {
    return await front.listen({ host, port: DEFAULT_PORT });
  } catch (error) {
    if (codeOf(error) !== 'EADDRINUSE') throw error;
    return front.listen({ host, port: 0 });
  }
}

/** Whether a text is the expected one, in a time that tells nothing of it. */
function isSecret(expected: string): (given: string) => boolean {
  const digest = (text: string) => hash('sha256', text, 'buffer');
  const known = digest(expected);
  return (given) => timingSafeEqual(digest(given), known);
}
