/**
 * The runner of `atoll runner`: the same as the embedded one, with a server of its own for its coordinator's calls, and a
 * lease. Only this program has both the HTTP routes and a runner.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import { runnerOperations } from '@atoll/protocol/runner-operations';
import { PROTOCOL_VERSION } from '@atoll/protocol/wire';
import type { Logger } from '@atoll/runner';
import { createRemoteCoordinator } from '@atoll/runner/coordinator';
import { createHeldLink } from '@atoll/runner/held-link';
import { createRunnerHandlers } from '@atoll/runner/http-handlers';
import type { TokenSource } from '@atoll/runner/own-tokens';
import { createRegistration, type Registration } from '@atoll/runner/registration';
import { access } from '@atoll/server/access';
import { type App, createApp } from '@atoll/server/app';
import { createFront } from '@atoll/server/front';
import type { DataDirectory } from './data-directory.ts';
import { startRunner } from './embedded-runner.ts';
import { codeOf } from './failure.ts';
import type { Config } from './settings.ts';
import { version } from './version.ts';

export type RemoteRunner = {
  readonly runnerId: string;
  readonly url: string;
  /** Resolves when the coordinator knows it; rejects when it never will. */
  registered(): Promise<void>;
  /** Rejects when the coordinator refuses it for good. */
  readonly refused: Promise<never>;
  /** Has its sandboxes go elsewhere, as far as they can in a moment, and ends the others. */
  stop(): Promise<void>;
};

export type RemoteRunnerOptions = {
  config: Config;
  directory: DataDirectory;
  tokens: TokenSource;
  at: { host: string; port: number | undefined };
  /** How others reach it; default: where it listens. */
  url: string | undefined;
  id: string | undefined;
  labels: Readonly<Record<string, string>>;
  tls: { cert: string; key: string } | undefined;
  log: Logger;
};

const DEFAULT_PORT = 4200;
/** For idle sessions to be paused, when it is told to stop. */
const LEAVING_MS = 10_000;
/** For the ends of its commands to be fetched. */
const TELLING_MS = 2_000;
const LOOK_MS = 50;

export async function startRemoteRunner(options: RemoteRunnerOptions): Promise<RemoteRunner> {
  const { config, directory, tokens, tls, log } = options;
  const runnerId = options.id ?? directory.runnerId;
  let app: Promise<App> | undefined;
  let stopping = false;
  const front = createFront({
    healthPath: '/runner/health',
    health: async () => health(),
    app: async () => {
      if (!app) throw new AtollError('shutting_down');
      return (await app).handle;
    },
    tls,
    logger: log,
  });
  const listening = await listen(front, options.at);
  const coordinator = createRemoteCoordinator({ url: config.server, tokens, logger: log });
  const clock = () => uptime() * 1000;
  const { runner, info } = await startRunner({
    config,
    directory: { ...directory, runnerId },
    coordinator,
    mayAct: () => registration.mayAct(),
    log,
  });
  const link = createHeldLink(runner.link);

  async function health() {
    const sandboxes = link.inventory().filter(({ status }) => status !== 'ended').length;
    const status = stopping ? ('stopping' as const) : ('ok' as const);
    return { status, runnerId, version, capacity: config.capacity, sandboxes };
  }

  const callbackToken = keptToken(join(directory.dataDir, 'callback.token'));
  app = createApp({
    server: front.server,
    title: 'Atoll runner',
    operations: runnerOperations,
    handlers: createRunnerHandlers({ link, health }),
    recognise: async (secret) => {
      if (!isSame(secret, callbackToken))
        throw new AtollError('unauthorized', 'that is not the callback token');
      return access('default', 'admin');
    },
    version,
    logger: log,
  });
  await app;
  const refusal = Promise.withResolvers<never>();
  // Whoever waits for its registration hears of it there.
  refusal.promise.catch(() => undefined);
  const registration = createRegistration({
    requests: coordinator.requests,
    link,
    description: {
      ...info,
      runnerId,
      address: options.url ?? listening,
      labels: { ...info.labels, ...options.labels },
      executorProfiles: [...info.executorProfiles],
      drivers: [...info.drivers],
      protocolVersion: PROTOCOL_VERSION,
      callbackToken,
    },
    clock,
    onExpired: () => {
      runner.freeze().catch((err) => log.error({ err }, 'sandboxes could not be frozen'));
    },
    onRenewed: () => {
      runner.thaw().catch((err) => log.error({ err }, 'sandboxes could not be thawed'));
    },
    onFatal: refusal.reject,
    logger: log,
  });

  return {
    runnerId,
    url: options.url ?? listening,
    registered: registration.registered,
    refused: refusal.promise,
    async stop() {
      stopping = true;
      await leave(registration, log);
      await runner.stop();
      await until(async () => !link.busy, TELLING_MS);
      registration.stop();
      await front.close();
      await (await app)?.close();
    },
  };
}

/** What is idle is paused, with a snapshot: the coordinator knows when nothing is left here. */
async function leave(registration: Registration, log: Logger): Promise<void> {
  try {
    await until(async () => (await registration.deregister()) === 0, LEAVING_MS);
  } catch (err) {
    log.warn({ err }, 'the coordinator could not be told that this runner stops');
  }
}

async function until(condition: () => Promise<boolean>, withinMs: number): Promise<void> {
  const endsAt = performance.now() + withinMs;
  while (!(await condition()) && performance.now() < endsAt) await delay(LOOK_MS);
}

/** Without a port that was asked for, the usual one, or a free one where another runner has that. */
async function listen(
  front: ReturnType<typeof createFront>,
  { host, port }: RemoteRunnerOptions['at'],
): Promise<string> {
  if (port !== undefined) return front.listen({ host, port });
  try {
    return await front.listen({ host, port: DEFAULT_PORT });
  } catch (error) {
    if (codeOf(error) !== 'EADDRINUSE') throw error;
    return front.listen({ host, port: 0 });
  }
}

/** The same at every start, so that a runner that comes back is known to be the same one. */
function keptToken(file: string): string {
  const kept = existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
  if (kept !== '') return kept;
  const token = `atoll_callback_${randomBytes(32).toString('base64url')}`;
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  return token;
}

function isSame(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
