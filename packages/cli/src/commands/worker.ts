/**
 * The composition root of `atoll worker`: the whole platform for one user, behind a pipe or a Unix socket. Stdout carries
 * protocol and nothing else; no port is opened by anything (I8).
 */
import { AtollError } from '@atoll/protocol/errors';
import type { Server } from '@atoll/server';
import { dataDirectory } from '../data-directory.ts';
import { UsageError } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { letHeapGrow, makeServer, refuseBrokenProfiles, refuseUnusableDriver } from '../serving.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { config, switches, options } = invocation;
  if (switches.stdio === true && options.socket !== undefined)
    throw new UsageError('--stdio and --socket exclude each other');
  if (options.socket !== undefined && config.launchToken === undefined)
    throw new UsageError('--socket needs ATOLL_LAUNCH_TOKEN: whoever reaches the socket must know it');
  if (config.driver === 'process' && switches['allow-loopback-port'] !== true)
    throw new AtollError(
      'isolation_required',
      'agents of the process driver are reached over a port of this machine; use another driver, or add --allow-loopback-port',
    );
  letHeapGrow();
  const directory = dataDirectory(config.dataDir);
  try {
    const server = await makeServer(config, directory);
    try {
      await refuseUnusableDriver(config);
      await refuseBrokenProfiles(config);
      await server.open();
      await serveUntilStopped(server, invocation);
    } finally {
      await server.stop();
    }
  } finally {
    directory.release();
  }
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
