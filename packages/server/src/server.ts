/**
 * The coordinator as one long-lived thing: it opens its database, listens, and has the platform behind the API loaded.
 *
 * Stages: database opening (on its own thread, while the HTTP framework loads) → recovery, if a crash left turns behind
 * → listening: health is answered, every other request waits → platform ready.
 */
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { newSecret } from './keys/secret.ts';
import type { Platform } from './platform.ts';
import type { Health, ServerOptions } from './server-options.ts';
import { openSqlite, type SqliteDatabase } from './store/sqlite-database.ts';

export type Server = {
  /** Recovers what a crash left behind, then serves. Rejects with a plain Error when the port is taken. */
  listen(): Promise<{ url: string; adminKeyFile: string }>;
  /** After `listen`: resolves when every request can be answered, rejects when that will never be. */
  ready(): Promise<void>;
  /** Takes no more requests, ends what runs with cause `server_stopped`, closes the store. */
  stop(): Promise<void>;
};

const EMPTY = { sessions: 0, pool: { capacity: 0, reserved: 0, running: 0, idle: 0, warm: 0 } };

/** Sessions that still count as at work: their turns are ended before anything is served. */
const LEFT_BEHIND = `SELECT 1 FROM sessions WHERE status NOT IN ('paused', 'ended', 'failed') LIMIT 1`;

export async function createServer(options: ServerOptions): Promise<Server> {
  const { dataDir, version, log: logger, now = Date.now } = options;
  const startedAt = now();
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await chmod(dataDir, 0o700);
  const opening = openSqlite({ path: join(dataDir, 'atoll.db') });
  const { createApp } = await import('./routes/app.ts');
  const adminKeyFile = join(dataDir, 'admin.key');
  let loading: Promise<Platform> | undefined;
  let loaded: Platform | undefined;
  let stopping = false;

  function platform(): Promise<Platform> {
    loading ??= load();
    return loading;
  }

  async function load(): Promise<Platform> {
    const [{ createPlatform }, database, secret] = await Promise.all([
      import('./platform.ts'),
      opening,
      adminSecret(adminKeyFile),
    ]);
    loaded = await createPlatform({ server: options, database, adminSecret: secret, logger, now, health });
    return loaded;
  }

  async function health(): Promise<Health> {
    const load = (await loaded?.load()) ?? EMPTY;
    return { status: stopping ? 'stopping' : 'ok', version, uptimeMs: now() - startedAt, ...load };
  }

  const app = createApp({ platform, health, version, logger });

  return {
    async listen() {
      await adminSecret(adminKeyFile);
      if (hasLeftBehind(await opening)) await platform();
      const url = await app.listen({ host: options.host, port: options.port });
      // Only now: until the port is ours, nothing on this machine is touched. `ready` tells of a failure.
      platform().catch(() => undefined);
      return { url, adminKeyFile };
    },
    ready: async () => void (await platform()),
    async stop() {
      if (stopping) return;
      stopping = true;
      // What is half made is made whole, so that it can be taken down.
      await loading?.catch(() => undefined);
      await loaded?.stop();
      await app.close();
      await (await opening).close();
    },
  };
}

function hasLeftBehind(database: SqliteDatabase): boolean {
  return database.first({ sql: LEFT_BEHIND, parameters: [] }) !== undefined;
}

/** The admin key of this data directory, made at the first start. */
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
