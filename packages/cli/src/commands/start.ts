/**
 * The composition root of `atoll start`: driver → server → runner (in this process, by the local link) → listening.
 * Stopped in the reverse order. The model's key goes to the runner alone, and never into a sandbox (I7).
 */

import { join } from 'node:path';
import { describeBridge } from '@atoll/bridge/install';
import { stageBridge } from '@atoll/bridge/stage';
import { type BridgeInstall, createRunner, type Driver } from '@atoll/runner';
import { createServer } from '@atoll/server';
import { type Logger, pino } from 'pino';
import { isLoopbackHost } from '../connect.ts';
import { dataDirectory } from '../data-directory.ts';
import { chooseDriver } from '../driver.ts';
import { SetupError, UsageError } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { Config } from '../settings.ts';
import type { Terminal } from '../terminal.ts';
import { version } from '../version.ts';

export async function run({ config, terminal, signal }: Invocation): Promise<void> {
  if (!isLoopbackHost(config.host) && !config.allowRemote)
    throw new UsageError(
      `--host ${config.host} can be reached from other machines; add --allow-remote if it may`,
    );
  const driver = chooseDriver(config);
  await requireUsable(driver);
  // In the order they are stopped in; the server first, since it ends its sessions by the runner.
  const stops: Stop[] = [];
  try {
    const platform = await startPlatform(config, driver, stops);
    announce(terminal, config, await listen(platform, config));
    await aborted(signal);
  } finally {
    for (const stop of stops) await stop();
  }
}

type Platform = { listen(): Promise<Listening> };
type Stop = () => Promise<void> | void;
type Listening = { url: string; adminKeyFile: string };

async function startPlatform(config: Config, driver: Driver, stops: Stop[]): Promise<Platform> {
  const { host, port, hostname, capacity } = config;
  const log = pino({ level: config.logLevel }, pino.destination(2));
  const { dataDir, runnerDir, runnerId, release } = await dataDirectory(config.dataDir);
  stops.push(release);
  const server = await createServer({ dataDir, host, port, version, log });
  stops.unshift(() => server.stop());
  const bridge = once(() => prepareBridge(driver, join(runnerDir, 'bridge'), log));
  const runner = await createRunner({
    dataDir: runnerDir,
    runnerId,
    driver,
    capacity,
    bridge,
    agents: server.agents,
    upstreams: modelUpstream(config),
    limits: { memoryMb: config.memoryMb, processes: config.processes, diskMb: config.diskMb },
    log,
  });
  stops.splice(1, 0, () => runner.stop());
  await server.attach(runner.link, {
    hostname,
    address: 'local',
    link: 'local',
    capacity,
    labels: {},
    executorProfiles: ['claude', 'program'],
    drivers: [driver.name],
    version,
  });
  return {
    async listen() {
      const listening = await server.listen();
      // Not before: the first sandbox is rarely asked for in the first half second, health is.
      void bridge();
      return listening;
    },
  };
}

/** A staged bridge starts in half the time; the plain one does where it cannot be staged. */
async function prepareBridge(driver: Driver, directory: string, log: Logger): Promise<BridgeInstall> {
  if (driver.name === 'process') return describeBridge();
  try {
    return await stageBridge({ directory });
  } catch (err) {
    log.warn({ err }, 'the bridge could not be staged; sandboxes start more slowly');
    return describeBridge();
  }
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

function modelUpstream({ anthropicApiKey, anthropicBaseUrl }: Config) {
  return anthropicApiKey === undefined
    ? {}
    : { anthropic: { baseUrl: anthropicBaseUrl, apiKey: anthropicApiKey } };
}

async function requireUsable(driver: Driver): Promise<void> {
  const problems = await driver.check();
  if (problems.length === 0) return;
  const lines = problems.map(({ problem, mend }) => `${problem}\n  ${mend}`);
  throw new SetupError(`The ${driver.name} driver cannot run here.\n${lines.join('\n')}`);
}

async function listen(platform: Platform, { host, port }: Config): Promise<Listening> {
  try {
    return await platform.listen();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EADDRINUSE')
      throw new SetupError(`Port ${port} on ${host} is taken; choose another with --port.`);
    if (code === 'EACCES')
      throw new SetupError(`Port ${port} may not be used by this user; choose another with --port.`);
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
      throw new SetupError(`${host} is no address of this machine; choose another with --host.`);
    throw error;
  }
}

function announce(
  { json, value, line, style }: Terminal,
  config: Config,
  { url, adminKeyFile }: Listening,
): void {
  if (json) return value({ event: 'listening', url, adminKeyFile, pid: process.pid });
  const model =
    config.anthropicApiKey === undefined
      ? 'ANTHROPIC_API_KEY is not set: Claude agents cannot answer'
      : config.anthropicBaseUrl;
  line(`${style.bold('Atoll')} ${version} listens on ${style.cyan(url)}`);
  line(`  sandboxes  ${config.driver}, up to ${config.capacity}`);
  line(`  model      ${config.anthropicApiKey === undefined ? style.yellow(model) : model}`);
  line(`  admin key  ${adminKeyFile}`);
  line(style.dim('  Ctrl-C stops it. Next: atoll deploy DIR'));
  if (config.driver === 'process')
    line(style.yellow('  The process driver isolates nothing: run only agents you trust.'));
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
