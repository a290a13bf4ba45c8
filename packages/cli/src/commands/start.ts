/**
 * The composition root of `atoll start`. What can fail for a reason of the user's is looked at before the server says
 * that it listens: the host, the data directory and its database, the driver, the executor profiles, the port. The runner is loaded once the
 * server listens. The model's key goes to the runner alone, and never into a sandbox (I7).
 */

import { join } from 'node:path';
import { isLoopbackHost } from '@atoll/protocol/loopback';
import type { Coordinator } from '@atoll/protocol/runner-link';
import { createServer, type Server, type ServerOptions } from '@atoll/server';
import { type DataDirectory, dataDirectory, RUNNER_DIRECTORY } from '../data-directory.ts';
import { codeOf, SetupError, UsageError } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { createLog } from '../log.ts';
import type { Config } from '../settings.ts';
import type { Terminal } from '../terminal.ts';
import { version } from '../version.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { config } = invocation;
  if (!isLoopbackHost(config.host) && !config.allowRemote)
    throw new UsageError(
      `--host ${config.host} can be reached from other machines; add --allow-remote if it may`,
    );
  letHeapGrow();
  const directory = dataDirectory(config.dataDir);
  try {
    await serve(invocation, directory);
  } finally {
    directory.release();
  }
}

async function serve(invocation: Invocation, directory: DataDirectory): Promise<void> {
  const { config } = invocation;
  const log = createLog(config.logLevel);
  const { host, port, secretKey } = config;
  const oidc = issuerOf(config);
  const { dataDir } = directory;
  const runner = async (coordinator: Coordinator) =>
    (await import('../embedded-runner.ts')).startRunner({ config, directory, coordinator, log });
  const server = await createServer({ dataDir, host, port, version, log, secretKey, oidc, runner });
  try {
    await refuseUnusableDriver(config);
    await refuseBrokenProfiles(config);
    announce(invocation.terminal, config, await listen(server, config));
    const stopped = invocation.stopped();
    await Promise.race([server.ready(), stopped]);
    await stopped;
  } finally {
    await server.stop();
  }
}

/** Whose JWTs are taken. */
function issuerOf(config: Config): ServerOptions['oidc'] {
  const { oidcIssuer: issuer, oidcAudience: audience, oidcRoleClaim, oidcTenantClaim } = config;
  if (issuer === undefined) return undefined;
  if (audience === undefined)
    throw new UsageError(
      '--oidc-issuer needs --oidc-audience: without it, tokens for anybody would be taken',
    );
  return { issuer, audience, roleClaim: oidcRoleClaim, tenantClaim: oidcTenantClaim };
}

/**
 * Doubles the room that the heap has between two collections of all of it. The server's heap is small, and V8 counts
 * the buffers that pass through as its growth: in a flood it collected everything several times a second.
 */
function letHeapGrow(): void {
  process.getBuiltinModule('node:v8').setFlagsFromString('--heap-growing-percent=100');
}

type Listening = { url: string; adminKeyFile: string };

/** Runs while the database opens on its own thread. */
async function refuseUnusableDriver({ driver, dataDir }: Config): Promise<void> {
  const { checkDriver } = await import('@atoll/runner/preflight');
  const problems = await checkDriver(driver, join(dataDir, RUNNER_DIRECTORY));
  if (problems.length === 0) return;
  const lines = problems.map(({ problem, mend }) => `${problem}\n  ${mend}`);
  throw new SetupError(`The ${driver} driver cannot run here.\n${lines.join('\n')}`);
}

async function refuseBrokenProfiles(config: Config): Promise<void> {
  if (Object.keys(config.executorProfiles).length === 0) return;
  const { configuredProfiles } = await import('../executor-profiles.ts');
  configuredProfiles(config);
}

async function listen(server: Pick<Server, 'listen'>, { host, port }: Config): Promise<Listening> {
  try {
    return await server.listen();
  } catch (error) {
    const code = codeOf(error);
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
      ? 'ANTHROPIC_API_KEY is not set: Claude agents need a stored one (atoll credential set)'
      : config.anthropicBaseUrl;
  line(`${style.bold('Atoll')} ${version} listens on ${style.cyan(url)}`);
  line(`  sandboxes  ${config.driver}, up to ${config.capacity}`);
  line(`  model      ${config.anthropicApiKey === undefined ? style.yellow(model) : model}`);
  line(`  admin key  ${adminKeyFile}`);
  line(style.dim('  Ctrl-C stops it. Next: atoll deploy DIR'));
  if (config.driver === 'process')
    line(style.yellow('  The process driver isolates nothing: run only agents you trust.'));
}
