/** The runner of this machine, as `atoll start` has it in its own process, and `atoll runner` apart. */
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { describeBridge } from '@atoll/bridge/install';
import { stageBridge } from '@atoll/bridge/stage';
import type { Coordinator } from '@atoll/protocol/runner-link';
import {
  type BridgeInstall,
  createRunner,
  type Driver,
  type Logger,
  type Runner,
  type Upstreams,
} from '@atoll/runner';
import type { ExecutorProfile } from '@atoll/runner/executor-profiles';
import type { EmbeddedRunner } from '@atoll/server';
import type { DataDirectory } from './data-directory.ts';
import { chooseDriver } from './driver.ts';
import { checkedProfiles } from './executor-profiles.ts';
import type { Config } from './settings.ts';
import { version } from './version.ts';

export async function startRunner(options: {
  config: Config;
  directory: DataDirectory;
  coordinator: Coordinator;
  /** Whether its lease still runs; without one, always. */
  mayAct?: () => boolean;
  log: Logger;
}): Promise<EmbeddedRunner & { runner: Runner }> {
  const { config, directory, coordinator, mayAct, log } = options;
  const { hostname, capacity, memoryMb, processes, diskMb } = config;
  const driver = await chooseDriver(config, (err, what) => log.warn({ err }, what));
  const profiles = usableProfiles(config, log);
  // Begun at once: the first sandbox is rarely asked for in the first half second.
  const staged = prepareBridge(driver, join(directory.runnerDir, 'bridge'), log);
  const runner = await createRunner({
    dataDir: directory.runnerDir,
    runnerId: directory.runnerId,
    driver,
    capacity,
    bridge: () => staged,
    coordinator,
    hostname,
    upstreams: modelUpstreams(config),
    profiles,
    ...(mayAct === undefined ? {} : { mayAct }),
    limits: { memoryMb, processes, diskMb },
    log,
  });
  const info = {
    hostname,
    address: 'local',
    link: 'local' as const,
    capacity,
    labels: { memoryMb: String(Math.floor(totalmem() / (1024 * 1024))) },
    executorProfiles: profiles.map(({ name }) => name),
    drivers: [driver.name],
    version,
  };
  return { runner, link: runner.link, info, stop: () => runner.stop() };
}

function usableProfiles(config: Config, log: Logger): ExecutorProfile[] {
  const checked = checkedProfiles(config);
  for (const { profile, problem } of checked)
    if (problem && Object.hasOwn(config.executorProfiles, profile.name))
      log.warn({ profile: profile.name, ...problem }, 'an executor profile cannot run here');
  return checked.filter(({ problem }) => problem === undefined).map(({ profile }) => profile);
}

/** A staged bridge starts in half the time; the plain one does where it cannot be staged. Never rejects. */
async function prepareBridge(driver: Driver, directory: string, log: Logger): Promise<BridgeInstall> {
  if (driver.name === 'process') return describeBridge();
  try {
    return await stageBridge({ directory });
  } catch (err) {
    log.warn({ err }, 'the bridge could not be staged; sandboxes start more slowly');
    return describeBridge();
  }
}

function modelUpstreams(config: Config): Upstreams {
  const { anthropicApiKey, anthropicBaseUrl, openaiApiKey, openaiBaseUrl } = config;
  return {
    ...(anthropicApiKey && { anthropic: { baseUrl: anthropicBaseUrl, apiKey: anthropicApiKey } }),
    ...(openaiApiKey && { openai: { baseUrl: openaiBaseUrl, apiKey: openaiApiKey } }),
  };
}
