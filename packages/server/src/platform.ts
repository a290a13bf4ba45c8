/**
 * What stands behind the API: the store, the log, and all that is built on them. Loaded apart from `server.ts`, so that
 * a server answers its first health check before all of it is there.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Coordinator } from '@atoll/protocol/runner-link';
import { createAgents } from './agents/agents.ts';
import type { BlobStore } from './blob-store/blob-store.ts';
import { createCredentials } from './credentials/credentials.ts';
import type { Fleet } from './fleet.ts';
import { access } from './keys/access.ts';
import { createKeys } from './keys/keys.ts';
import { createRecognise, type Recognise } from './keys/recognise.ts';
import { createSessionTokens } from './keys/session-tokens.ts';
import { createSqliteLog } from './log/sqlite.ts';
import type { Logger } from './logger.ts';
import { type Gauge, renderMetrics } from './metrics.ts';
import { createRetention, type Retired, retired } from './retention/retention.ts';
import type { Handlers } from './routes/handler.ts';
import { createHandlers } from './routes/handlers.ts';
import type { GrpcServer } from './runners/grpc-server.ts';
import { createRunnerRegistry } from './runners/registry.ts';
import { createSandboxes } from './sandboxes/sandboxes.ts';
import { createScheduler } from './scheduler/scheduler.ts';
import type { EmbeddedRunner, GrpcOptions, Health, ServerOptions } from './server-options.ts';
import { createSessions } from './sessions/sessions.ts';
import { createCollector } from './snapshots/collector.ts';
import { createSnapshots } from './snapshots/snapshots.ts';
import { loadKysely } from './store/kysely.ts';
import { createSqliteStore } from './store/sqlite.ts';
import type { SqliteDatabase } from './store/sqlite-database.ts';
import { createUsage } from './usage/usage.ts';

export type Platform = {
  readonly handlers: Handlers;
  readonly recognise: Recognise;
  load(): Promise<Pick<Health, 'sessions' | 'pool'>>;
  /** Lets runners dial in, and resolves with the port. Rejects with a plain Error when that is taken. */
  dialIn(at: { host: string } & GrpcOptions): Promise<number>;
  /** Ends what runs here with cause `server_stopped`; what runs elsewhere goes on. */
  stop(): Promise<void>;
};

const SWEEP_MS = 15_000;
/** Since the start: by then a runner that is there has registered anew. */
const ABSENT_MS = 30_000;
/** Since the start: the longest that a lease of before can last, and its margin. */
const LEASES_OVER_MS = 17_000;
const COLLECT_MS = 60 * 60_000;
/** For snapshots that are under way when the server is to stop. */
const MAX_SETTLING_MS = 10_000;
/** The runner in this process serves every tenant. */
const runnerAccess = access('default', 'admin');

export async function createPlatform(options: {
  server: ServerOptions;
  database: SqliteDatabase;
  /** What is kept beside it, by its name. */
  openBlobs: (name: 'blobs' | 'snapshots') => BlobStore;
  adminSecret: string;
  /** Where the API is. */
  url: string;
  /** How to get there when no port leads to it. */
  connect: Coordinator['connect'];
  logger: Logger;
  now: () => number;
  health: () => Promise<Health>;
}): Promise<Platform> {
  const { server, database, openBlobs, logger, now, health } = options;
  const store = createSqliteStore(database, await loadKysely());
  const log = createSqliteLog(database);
  const blobs = openBlobs('blobs');
  const keys = createKeys({ store, now });
  const credentials = createCredentials({
    store,
    now,
    logger,
    secretKey: server.secretKey,
    keyFile: join(server.dataDir, 'secret.key'),
  });
  const tokens = createSessionTokens({ now });
  const agents = createAgents({
    store,
    blobs,
    now,
    onChanged: (tenant, agent) => sessions.agentChanged(tenant, agent),
  });
  const runners = createRunnerRegistry({ store, now });
  const scheduler = createScheduler({ runners });
  const snapshotBlobs = openBlobs('snapshots');
  const snapshots = createSnapshots({ store, blobs: snapshotBlobs, now });
  const usage = createUsage({ store });
  const collector = createCollector({ store, blobs: snapshotBlobs, now });
  const sessions = createSessions({ store, log, runners, scheduler, agents, tokens, snapshots, logger, now });
  const { makeRoom } = sessions;
  const sandboxes = createSandboxes({ store, runners, scheduler, makeRoom, logger, now });

  await keys.ensureAdmin(options.adminSecret);
  await credentials.checkKey();
  const embedded = await server.runner?.({
    agents: agents.source,
    snapshots: snapshots.blobs,
    url: options.url,
    ...(options.connect === undefined ? {} : { connect: options.connect }),
    sessionToken,
    credentials: async (session) =>
      credentials.credentialsFor(await sessions.assigned(runnerAccess, session)),
    recordAccess: (report) => sessions.recordAccess(runnerAccess, report),
    modelUse: (report) => sessions.modelUse(runnerAccess, report),
  });
  if (embedded) await attach(embedded);
  await sessions.recoverAll();
  await sandboxes.recover();
  sessions.warm().catch((err) => logger.error({ err }, 'the warm pool could not be filled'));
  const stopCollecting = sweepEvery(COLLECT_MS, () => {
    collector.collect().catch((err) => logger.warn({ err }, 'blobs of snapshots could not be collected'));
  });
  const absent = setTimeout(() => {
    Promise.all([sandboxes.endAbsent(), sessions.endAwaited()]).catch((err) =>
      logger.error({ err }, 'sandboxes of absent runners could not be ended'),
    );
  }, ABSENT_MS);
  absent.unref();
  const leases = setTimeout(() => {
    runners.leasesOver();
    sessions
      .endAbsent()
      .catch((err) => logger.error({ err }, 'sessions of absent runners could not be ended'));
  }, LEASES_OVER_MS);
  leases.unref();
  const retention = createRetention({
    settings: server.retention ?? {},
    ...{ store, log, sessions, logger, now },
  });
  const stopSweeping = sweepEvery(SWEEP_MS, () => {
    sessions.forgetQuiet();
    usage.countEnded().catch((err) => logger.warn({ err }, 'the time of sandboxes could not be counted'));
    const { idlePauseMs = 30 * 60_000 } = server;
    if (idlePauseMs > 0) void sessions.pauseIdle(idlePauseMs);
  });

  let fleet: Promise<Fleet> | undefined;
  function remote(): Promise<Fleet> {
    const uptime = () => process.getBuiltinModule('node:os').uptime();
    fleet ??= import('./fleet.ts').then(({ createFleet }) =>
      createFleet({ runners, sessions, sandboxes, logger, now, uptime }),
    );
    return fleet;
  }

  async function attach({ link, info }: EmbeddedRunner): Promise<void> {
    await runners.attach(link, info);
    link.onSandboxEnded((ended) => {
      sessions.onSandboxEnded(link.runnerId, ended);
      sandboxes
        .onSandboxEnded(link.runnerId, ended)
        .catch((err) => logger.error({ err }, 'the end of a sandbox was not recorded'));
    });
  }

  /** As `session.token.create` gives it to a runner elsewhere. */
  async function sessionToken(request: { sessionId: string; epoch: number }): Promise<string> {
    return (await sessions.token(runnerAccess, request)).token;
  }

  const recognise = createRecognise({ keys, tokens, oidc: server.oidc, logger, now });
  let dialled: GrpcServer | undefined;
  return {
    async dialIn({ apiUrl = options.url, ...at }) {
      const { createGrpcServer } = await import('./runners/grpc-server.ts');
      const registrations = await remote();
      const { source } = agents;
      const { blobs: stored } = snapshots;
      const made = { registrations, recognise, agents: source, snapshots: stored, apiUrl, logger };
      dialled = await createGrpcServer(made);
      return dialled.listen(at);
    },
    handlers: createHandlers({
      agents,
      credentials,
      keys,
      sessions,
      sandboxes,
      usage,
      runners,
      fleet: remote,
      snapshots: snapshots.blobs,
      health,
      metrics: async () => renderMetrics(await health(), retiredCounters(retention.retired)),
    }),
    recognise,
    async load() {
      const { sessions: live, running, idle, warm } = sessions.counts();
      return { sessions: live, pool: { ...(await runners.usage()), running, idle, warm } };
    },
    async stop() {
      stopSweeping();
      stopCollecting();
      clearTimeout(absent);
      clearTimeout(leases);
      await retention.stop();
      await Promise.all([sessions.stop(), sandboxes.stop()]);
      await Promise.race([snapshots.settled(), delay(MAX_SETTLING_MS, undefined, { ref: false })]);
      await embedded?.stop();
      await dialled?.close();
      (await fleet)?.close();
    },
  };
}

function retiredCounters(counts: Readonly<Retired>): Gauge[] {
  return Object.entries(retired).map(([name, help]) => ({
    name: `atoll_retention_${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}_total`,
    help,
    value: counts[name as keyof Retired],
  }));
}

function sweepEvery(ms: number, sweep: () => void): () => void {
  const timer = setInterval(sweep, ms);
  timer.unref();
  return () => clearInterval(timer);
}
