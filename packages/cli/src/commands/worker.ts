/**
 * The composition root of `atoll worker`: the whole platform for one user, behind a pipe or a Unix socket. Stdout carries
 * protocol and nothing else; no port is opened by anything (I8).
 */
import type { Server } from '@atoll/server';
import { withEmbeddedServer } from '../embedded.ts';
import { UsageError } from '../failure.ts';
import type { Invocation } from '../invocation.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { config, switches, options } = invocation;
  if (switches.stdio === true && options.socket !== undefined)
    throw new UsageError('--stdio and --socket exclude each other');
  if (options.socket !== undefined && config.launchToken === undefined)
    throw new UsageError('--socket needs ATOLL_LAUNCH_TOKEN: whoever reaches the socket must know it');
  await withEmbeddedServer(invocation, (server) => serveUntilStopped(server, invocation));
}

/** Over stdio until the host is gone, over a socket until a signal comes. */
async function serveUntilStopped(
  server: Server,
  { config, options, switches, stopped: whenStopped }: Invocation,
): Promise<void> {
  const stopped = whenStopped();
  const common = { server, token: config.launchToken, legacy: switches.legacy === true };
  const serving =
    options.socket === undefined
      ? (await import('../worker/stdio.ts')).serveStdio(common)
      : (await import('../worker/socket.ts')).serveSocket({ ...common, path: options.socket, stopped });
  await Promise.race([Promise.all([serving, server.ready()]), stopped]);
}
