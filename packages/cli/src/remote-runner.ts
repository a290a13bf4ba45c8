/**
 * The runner of `atoll runner`: the same as the embedded one, with a server of its own for its coordinator's calls, and a
 * lease. Only this program has both the HTTP routes and a runner.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { PROTOCOL_VERSION } from '@atoll/protocol/wire';
import type { Logger } from '@atoll/runner';
import { createHeldLink } from '@atoll/runner/held-link';
import { createRegistration, type Registration } from '@atoll/runner/registration';
import type { DataDirectory } from './data-directory.ts';
import { startRunner } from './embedded-runner.ts';
import type { Wire } from './runner-wires.ts';
import type { Config } from './settings.ts';
import { version } from './version.ts';

export type RemoteRunner = {
  readonly runnerId: string;
  readonly url: string;
  /** At that URL; otherwise it dialled it. */
  readonly listens: boolean;
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
  open: (callbackToken: string) => Promise<Wire>;
  id: string | undefined;
  once: boolean;
  labels: Readonly<Record<string, string>>;
  log: Logger;
};

/** For idle sessions to be paused, when it is told to stop. */
const LEAVING_MS = 10_000;
/** For the ends of its commands to be fetched. */
const TELLING_MS = 2_000;
const LOOK_MS = 50;

export async function startRemoteRunner(options: RemoteRunnerOptions): Promise<RemoteRunner> {
  const { config, directory, log } = options;
  const runnerId = options.id ?? directory.runnerId;
  const callbackToken = keptToken(join(directory.dataDir, 'callback.token'));
  let stopping = false;
  const wire = await options.open(callbackToken);
  const clock = () => uptime() * 1000;
  const { runner, info } = await startRunner({
    config,
    directory: { ...directory, runnerId },
    coordinator: wire.coordinator,
    mayAct: () => registration.mayAct(),
    log,
  });
  const link = createHeldLink(runner.link);

  async function health() {
    const sandboxes = link.inventory().filter(({ status }) => status !== 'ended').length;
    const status = stopping ? ('stopping' as const) : ('ok' as const);
    return { status, runnerId, version, capacity: config.capacity, sandboxes };
  }

  await wire.serve(link, health);
  const refusal = Promise.withResolvers<never>();
  // Whoever waits for its registration hears of it there.
  refusal.promise.catch(() => undefined);
  const registration = createRegistration({
    requests: wire.lease,
    link,
    description: {
      ...info,
      runnerId,
      address: wire.address,
      labels: { ...info.labels, ...options.labels },
      executorProfiles: [...info.executorProfiles],
      drivers: [...info.drivers],
      protocolVersion: PROTOCOL_VERSION,
      callbackToken,
      incarnation: randomBytes(16).toString('hex'),
    },
    clock,
    onExpired: () => {
      runner.freeze().catch((err) => log.error({ err }, 'sandboxes could not be frozen'));
    },
    onRenewed: () => {
      runner.thaw().catch((err) => log.error({ err }, 'sandboxes could not be thawed'));
    },
    onFatal: refusal.reject,
    once: options.once,
    logger: log,
  });
  link.onSweep(registration.lookedThrough);

  return {
    runnerId,
    url: wire.address,
    listens: wire.listens,
    registered: registration.registered,
    refused: refusal.promise,
    async stop() {
      stopping = true;
      await leave(registration, log);
      await runner.stop();
      await until(async () => !link.busy, TELLING_MS);
      registration.stop();
      await wire.close();
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

/** The same at every start, so that a runner that comes back is known to be the same one. */
function keptToken(file: string): string {
  const kept = existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
  if (kept !== '') return kept;
  const token = `atoll_callback_${randomBytes(32).toString('base64url')}`;
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  return token;
}
