import { chmod, chown, open } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { Duplex } from 'node:stream';
import type { SandboxOwner } from '../driver.ts';

/**
 * The channel of a sandbox that cannot be handed a descriptor: a Unix socket (0600, its user's) which the command
 * connects to. The first connection is the channel; nobody can make a second. What is written before that waits.
 */
export type ChannelSocket = {
  readonly channel: Duplex;
  /** After the sandbox's end, whether it connected or not. What came through the channel can still be read. */
  close(): void;
};

/** Tells the command where the channel is. */
export const CHANNEL_VARIABLE = 'ATOLL_RUNNER_SOCKET';
export const CHANNEL_SOCKET = 'bridge.sock';

/** In a directory that nobody else can reach. */
export async function openChannelSocket(directory: string, owner: SandboxOwner): Promise<ChannelSocket> {
  const path = join(directory, CHANNEL_SOCKET);
  const channel = new LateChannel();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    server.close();
    if (!channel.connect(socket)) socket.destroy();
  });
  await listenAt(server, path, owner);
  return {
    channel,
    close() {
      server.close();
      channel.neverConnected();
    },
  };
}

/** A socket's address has room for 107 bytes; through a descriptor of its directory any path is short. */
async function listenAt(server: Server, path: string, owner: SandboxOwner): Promise<void> {
  const directory = await open(dirname(path));
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      const short = path.length > 100 ? `/proc/self/fd/${directory.fd}/${basename(path)}` : path;
      server.listen(short, resolve);
    });
    await chmod(path, 0o600);
    if (owner) await chown(path, owner.uid, owner.gid);
  } finally {
    await directory.close();
  }
}

class LateChannel extends Duplex {
  readonly #connected = Promise.withResolvers<Socket | undefined>();
  #socket: Socket | undefined;
  #closed = false;

  /** False when it is too late, or there is one already. */
  connect(socket: Socket): boolean {
    if (this.#socket || this.#closed) return false;
    this.#socket = socket;
    socket.on('data', (chunk) => this.push(chunk) || socket.pause());
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.readableEnded || this.push(null));
    this.#connected.resolve(socket);
    return true;
  }

  neverConnected(): void {
    this.#closed = true;
    if (this.#socket) return;
    this.#connected.resolve(undefined);
    this.push(null);
  }

  override _read(): void {
    this.#socket?.resume();
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    const write = (socket: Socket | undefined) =>
      socket ? socket.write(chunk, done) : done(new Error('the sandbox ended without connecting'));
    if (this.#socket) write(this.#socket);
    else void this.#connected.promise.then(write);
  }

  override _final(done: () => void): void {
    void this.#connected.promise.then((socket) => (socket ? socket.end(done) : done()));
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket?.destroy();
    this.#connected.resolve(undefined);
    done(error);
  }
}
