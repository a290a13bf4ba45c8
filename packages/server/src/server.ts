/**
 * The coordinator as one long-lived thing: it opens its database, listens, and has the API loaded.
 *
 * Stages: database opening (on its own thread) → recovery, if a crash left turns behind → listening: health is answered,
 * every other request waits → API loaded: the platform and the HTTP framework before it.
 */
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { Coordinator } from '@atoll/protocol/runner-link';
import { PROTOCOL_VERSION } from '@atoll/protocol/wire';
import type { LocalClient } from './local-client.ts';
import type { Platform } from './platform.ts';
import type { App } from './routes/app.ts';
import { createFront } from './routes/front.ts';
import type { Handlers } from './routes/handler.ts';
import type { Methods } from './rpc/methods.ts';
import type { Health, Host, ServerOptions } from './server-options.ts';
import { openSqlite, type SqliteDatabase } from './store/sqlite-database.ts';

export type Server = {
  /**
   * Recovers what a crash left behind, then serves HTTP. Port 0: any free one. Rejects with a plain Error when the port is
   * taken.
   */
  listen(at: { host: string; port: number }): Promise<Listening>;
  /** Instead of `listen`: recovers, and serves nobody but the hosts of `serve`. No port is opened (I8). */
  open(): Promise<void>;
  /** After `open`: speaks JSON-RPC 2.0 lines with one host until it is gone. Never rejects. */
  serve(host: Host): Promise<void>;
  /** After `open`: the operations for whoever shares this process. */
  local(): Promise<LocalClient>;
  /** After `listen` or `open`: has the API loaded; resolves when every request can be answered, rejects when that will never be. */
  ready(): Promise<void>;
  /** Takes no more requests, ends what runs with cause `server_stopped`, closes the store. */
  stop(): Promise<void>;
};

/** `grpcUrl`: where runners dial in, when that was asked for. */
export type Listening = { url: string; adminKeyFile: string; grpcUrl?: string };

const EMPTY = { sessions: 0, pool: { capacity: 0, reserved: 0, running: 0, idle: 0, warm: 0 } };

/** A sandbox that still counts as running: its session was at work, and its turns are ended before anything is served. */
const LEFT_BEHIND = 'SELECT 1 FROM sandboxes WHERE ended_at IS NULL LIMIT 1';

/**
 * Who waits for a server asks for its health first, and that answer must not stand behind the loading of the API, which
 * holds the thread for 50 ms at a time. A request for the API ends the pause.
 */
const PAUSE_BEFORE_LOADING_MS = 50;

export async function createServer(options: ServerOptions): Promise<Server> {
  const { dataDir, version, log: logger, now = Date.now } = options;
  const startedAt = now();
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await chmod(dataDir, 0o700);
  const opening = openSqlite({ path: join(dataDir, 'atoll.db') });
  const adminKeyFile = join(dataDir, 'admin.key');
  const front = createFront({
    healthPath: '/health',
    health: async () => {
      await recovered();
      return health();
    },
    app: async () => (await api()).handle,
    logger,
  });
  let keyed: Promise<string> | undefined;
  let recovering: Promise<void> | undefined;
  let loading: Promise<App> | undefined;
  let platform: Platform | undefined;
  let methods: Methods | undefined;
  /** Where it listens; nothing is loaded before. Gateways of a server without a port have another way. */
  let url = 'http://localhost';
  let connect: Coordinator['connect'];
  let stopping = false;

  function api(): Promise<App> {
    loading ??= stopping ? Promise.reject(new AtollError('shutting_down')) : load();
    return loading;
  }

  /** Made once: a request may have the API loaded while the first start still makes it. */
  function adminKey(): Promise<string> {
    keyed ??= adminSecret(adminKeyFile);
    return keyed;
  }

  function recovered(): Promise<void> {
    recovering ??= recover();
    return recovering;
  }

  /** The turns that a crash left are ended by the loading of the API. */
  async function recover(): Promise<void> {
    if (hasLeftBehind(await opening)) await api();
  }

  async function load(): Promise<App> {
    const [
      { createPlatform },
      { createDirectoryBlobStore },
      { createApp },
      { operations },
      database,
      secret,
    ] = await Promise.all([
      import('./platform.ts'),
      import('./blob-store/directory.ts'),
      import('./routes/app.ts'),
      import('@atoll/protocol/operations'),
      opening,
      adminKey(),
    ]);
    platform = await createPlatform({
      server: options,
      database,
      openBlobs: (name) => createDirectoryBlobStore(join(dataDir, name)),
      adminSecret: secret,
      url,
      connect,
      logger,
      now,
      health,
    });
    return createApp({ server: front.server, title: 'Atoll', operations, ...platform, version, logger });
  }

  async function rpc(): Promise<{ methods: Methods; handlers: Handlers }> {
    await api();
    if (!platform) throw new AtollError('shutting_down');
    const { createMethods } = await import('./rpc/methods.ts');
    const { handlers } = platform;
    methods ??= createMethods(handlers);
    return { methods, handlers };
  }

  async function health(): Promise<Health> {
    const load = (await platform?.load()) ?? EMPTY;
    return { status: stopping ? 'stopping' : 'ok', version, uptimeMs: now() - startedAt, ...load };
  }

  return {
    async listen(at) {
      // Until the port is ours, nothing on this machine is touched.
      url = await front.listen(at);
      await Promise.all([recovered(), adminKey()]);
      if (!options.grpc) return { url, adminKeyFile };
      await api();
      const { host } = at;
      const port = await platform?.dialIn({ host, ...options.grpc });
      const named = host.includes(':') ? `[${host}]` : host;
      return { url, adminKeyFile, grpcUrl: `${options.grpc.tls ? 'grpcs' : 'grpc'}://${named}:${port}` };
    },
    async open() {
      connect = front.connect;
      await Promise.all([recovered(), adminKey()]);
    },
    async serve(host) {
      const { serveConnection } = await import('./rpc/connection.ts');
      const hello = { version, protocolVersion: PROTOCOL_VERSION, pid: process.pid };
      await serveConnection({ ...host, hello, api: rpc, logger });
    },
    async local() {
      const { createLocalClient } = await import('./local-client.ts');
      return createLocalClient(async () => (await rpc()).handlers);
    },
    async ready() {
      await delay(PAUSE_BEFORE_LOADING_MS);
      await api();
    },
    async stop() {
      if (stopping) return;
      stopping = true;
      // What is half made is made whole, so that it can be taken down.
      const app = await loading?.catch(() => undefined);
      await platform?.stop();
      await front.close();
      await app?.close();
      await (await opening).close();
    },
  };
}

function hasLeftBehind(database: SqliteDatabase): boolean {
  return database.first({ sql: LEFT_BEHIND, parameters: [] }) !== undefined;
}

/**
 * The admin key of this data directory, made at the first start; an empty file is what a crash or a full disk left of
 * that.
 */
async function adminSecret(file: string): Promise<string> {
  const kept = (await readFile(file, 'utf8').catch(noneYet)).trim();
  if (kept !== '') return kept;
  const { newSecret } = await import('./keys/secret.ts');
  const secret = newSecret();
  await writeFile(file, `${secret}\n`, { mode: 0o600 });
  return secret;
}

function noneYet(error: unknown): string {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
  throw error;
}
