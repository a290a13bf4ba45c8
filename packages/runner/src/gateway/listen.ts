/** Where a gateway listens: a Unix socket for a sandbox with walls, a loopback port with a secret path for one without. */
import { chmod, chown, open } from 'node:fs/promises';
import type { Server } from 'node:http';
import { basename, dirname } from 'node:path';
import { AtollError } from '@atoll/protocol/errors';
import type { SandboxOwner } from '../driver.ts';

export type Where = { socketPath: string; owner: SandboxOwner } | { secretPath: string; port?: number };

/** Resolves with the address: the socket's path, or the URL with its secret path. */
export async function listen(server: Server, where: Where): Promise<string> {
  if ('secretPath' in where) {
    await listening(server, { host: '127.0.0.1', port: where.port ?? 0 });
    const bound = server.address();
    return `http://127.0.0.1:${typeof bound === 'object' && bound ? bound.port : 0}${where.secretPath}`;
  }
  const { socketPath, owner } = where;
  // A socket's address has room for 107 bytes; through a descriptor of its directory any path is short.
  const directory = await open(dirname(socketPath));
  try {
    await listening(server, {
      path: socketPath.length > 100 ? `/proc/self/fd/${directory.fd}/${basename(socketPath)}` : socketPath,
    });
    await chmod(socketPath, 0o600);
    if (owner) await chown(socketPath, owner.uid, owner.gid);
  } finally {
    await directory.close();
  }
  return socketPath;
}

function listening(
  server: Server,
  options: { path: string } | { host: string; port: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => resolve());
  });
}

/** Listens on a handle that somebody else made. Closed again, it is at an end, wherever it was. */
export async function listenOn(server: Server, listener: object, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(listener, resolve);
  await promise;
  const bound = server.address();
  if (typeof bound === 'object' && bound?.address === '127.0.0.1' && bound.port === port) return;
  server.close();
  throw new AtollError('sandbox_failed', `the sandbox handed over a listener that is not at port ${port}`);
}
