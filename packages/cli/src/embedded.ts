/** The whole platform in this process, without any port (I8): what `worker`, `acp` and `mcp` serve. */
import { AtollError } from '@atoll/protocol/errors';
import type { Server } from '@atoll/server';
import { dataDirectory } from './data-directory.ts';
import type { Invocation } from './invocation.ts';
import { letHeapGrow, makeServer, refuseBrokenProfiles, refuseUnusableDriver } from './serving.ts';

/** Made, used until `use` is done, and taken down: nothing of it is left then. */
export async function withEmbeddedServer(
  { config, switches }: Invocation,
  use: (server: Server) => Promise<void>,
): Promise<void> {
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
      await use(server);
    } finally {
      await server.stop();
    }
  } finally {
    directory.release();
  }
}
