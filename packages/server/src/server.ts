/**
 * The coordinator's composition root: store and log, then what stands on them, then HTTP. Long-lived things are
 * started here in this order and stopped in the reverse one.
 */
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentSource, RunnerLink } from '@atoll/protocol/runner-link';
import { createAgents } from './agents/agents.ts';
import { createDirectoryBlobStore } from './blob-store/directory.ts';
import { createKeys, newSecret } from './keys/keys.ts';
import { createSqliteLog } from './log/sqlite.ts';
import type { Logger } from './logger.ts';
import { renderMetrics } from './metrics.ts';
import { createApp } from './routes/app.ts';
import { createHandlers } from './routes/handlers.ts';
import { createRunnerRegistry, type RunnerInfo } from './runners/registry.ts';
import { createScheduler } from './scheduler/scheduler.ts';
import { createSessions } from './sessions/sessions.ts';
import { loadKysely } from './store/kysely.ts';
import { createSqliteStore } from './store/sqlite.ts';
import { openSqlite } from './store/sqlite-database.ts';

export type ServerOptions = {
  /** Kept 0700; holds the database, blobs and the admin key. */
  dataDir: string;
  host: string;
  /** 0: any free one. */
  port: number;
  version: string;
  log: Logger;
  /** An idle session's sandbox is freed after this; 0: never. */
  idlePauseMs?: number;
  now?: () => number;
};

export type Server = {
  /** What runners read agent folders from. */
  readonly agents: AgentSource;
  attach(link: RunnerLink, info: RunnerInfo): Promise<void>;
  /** Recovers what a crash left behind, then serves. Rejects with a plain Error when the port is taken. */
  listen(): Promise<{ url: string; adminKeyFile: string }>;
  /** Takes no more requests, ends what runs with cause `server_stopped`, closes the store. */
  stop(): Promise<void>;
};

const SWEEP_MS = 15_000;

export async function createServer(options: ServerOptions): Promise<Server> {
  const { dataDir, version, log: logger, now = Date.now, idlePauseMs = 30 * 60_000 } = options;
  const startedAt = now();
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await chmod(dataDir, 0o700);
  // The writer thread opens the file while this one loads the query builder.
  const opening = openSqlite({ path: join(dataDir, 'atoll.db') });
  const kysely = await loadKysely();
  const database = await opening;
  const store = createSqliteStore(database, kysely);
  const log = createSqliteLog(database);
  const blobs = createDirectoryBlobStore(join(dataDir, 'blobs'));

  const keys = createKeys({ store, now });
  const agents = createAgents({ store, blobs, now });
  const runners = createRunnerRegistry({ store, now });
  const scheduler = createScheduler({ runners });
  const sessions = createSessions({ store, log, runners, scheduler, agents, logger, now });
  let stopping = false;

  async function health() {
    const { sessions: live, running, idle } = sessions.counts();
    const { capacity, reserved } = await runners.usage();
    const status = stopping ? ('stopping' as const) : ('ok' as const);
    return {
      status,
      version,
      uptimeMs: now() - startedAt,
      sessions: live,
      pool: { capacity, reserved, running, idle, warm: 0 },
    };
  }

  const metrics = async () => renderMetrics(await health());
  const handlers = createHandlers({ agents, keys, sessions, health, metrics });
  const app = createApp({ handlers, version, logger, recognise: (secret) => keys.recognise(secret) });

  const sweep = setInterval(() => {
    sessions.forgetQuiet();
    if (idlePauseMs > 0) void sessions.pauseIdle(idlePauseMs);
  }, SWEEP_MS);
  sweep.unref();

  async function stop(): Promise<void> {
    if (stopping) return;
    stopping = true;
    clearInterval(sweep);
    await sessions.stop();
    await app.close();
    await database.close();
  }

  return {
    agents: agents.source,
    async attach(link, info) {
      await runners.attach(link, info);
      link.onSandboxEnded((ended) => sessions.onSandboxEnded(ended));
    },
    async listen() {
      const adminKeyFile = join(dataDir, 'admin.key');
      await keys.ensureAdmin(await adminSecret(adminKeyFile));
      await sessions.recoverAll();
      const url = await app.listen({ host: options.host, port: options.port });
      return { url, adminKeyFile };
    },
    stop,
  };
}

async function adminSecret(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    const secret = newSecret();
    await writeFile(file, `${secret}\n`, { mode: 0o600, flag: 'wx' });
    return secret;
  }
}
