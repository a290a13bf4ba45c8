/** What commands that are a server share: `start` and `worker`. */
import type { Coordinator } from '@atoll/protocol/runner-link';
import { createServer, type Server, type ServerOptions } from '@atoll/server';
import type { DataDirectory } from './data-directory.ts';
import { driverSettings } from './driver-settings.ts';
import { SetupError, UsageError } from './failure.ts';
import { createLog } from './log.ts';
import type { Config } from './settings.ts';
import { version } from './version.ts';

/** With the runner of this machine, which is loaded when the server needs it. The model's key goes to the runner alone (I7). */
export function makeServer(
  config: Config,
  directory: DataDirectory,
  { withRunner = true, grpc }: { withRunner?: boolean; grpc?: ServerOptions['grpc'] } = {},
): Promise<Server> {
  const log = createLog(config.logLevel);
  const { dataDir } = directory;
  const { secretKey } = config;
  const runner = async (coordinator: Coordinator) =>
    (await import('./embedded-runner.ts')).startRunner({ config, directory, coordinator, log });
  const idlePauseMs = config.idlePause ?? 0;
  const retention = retentionOf(config);
  const oidc = issuerOf(config);
  const own = withRunner ? { runner } : {};
  return createServer({ dataDir, version, log, secretKey, oidc, idlePauseMs, retention, grpc, ...own });
}

function retentionOf(config: Config): NonNullable<ServerOptions['retention']> {
  return {
    endPausedMs: config.endPaused,
    keepSessionsMs: config.keepSessions,
    thinSnapshotsMs: config.thinSnapshots,
    keepSnapshotsMs: config.keepSnapshots,
    keepSandboxesMs: config.keepSandboxes,
    compactPartialsMs: config.compactPartials,
  };
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
 * Lets the heap grow to four times its size between two collections of all of it, which is what V8 grants itself at most.
 * The heap is small, and V8 counts the buffers that pass through as its growth: in a flood it collected everything several
 * times a second, and never came to collect the young buffers alone, for which it waits until they are 64 MB.
 */
export function letHeapGrow(): void {
  process.getBuiltinModule('node:v8').setFlagsFromString('--heap-growing-percent=300');
}

/** Runs while the database opens on its own thread. */
export async function refuseUnusableDriver(config: Config): Promise<void> {
  const { checkDriver } = await import('@atoll/runner/preflight');
  const problems = await checkDriver(config.driver, driverSettings(config));
  if (problems.length === 0) return;
  const lines = problems.map(({ problem, mend }) => `${problem}\n  ${mend}`);
  throw new SetupError(`The ${config.driver} driver cannot run here.\n${lines.join('\n')}`);
}

export async function refuseBrokenProfiles(config: Config): Promise<void> {
  if (Object.keys(config.executorProfiles).length === 0) return;
  const { configuredProfiles } = await import('./executor-profiles.ts');
  configuredProfiles(config);
}
