/** What editors and agents are served from: a server elsewhere, or the whole platform in this process. */
import type { Client } from '@atoll/client';
import { withEmbeddedServer } from './embedded.ts';
import type { Invocation } from './invocation.ts';

export type Platform = Pick<Client, 'call' | 'send' | 'events'>;

/** Until `serve` is done, or a signal comes. With `--server` nothing is started here. */
export async function withPlatform(
  invocation: Invocation,
  serve: (platform: Platform) => Promise<void>,
): Promise<void> {
  const { config, options, stopped } = invocation;
  if (options.server !== undefined) {
    const { connect } = await import('./connect.ts');
    return Promise.race([serve(connect({ ...config, server: options.server })), stopped()]);
  }
  await withEmbeddedServer(invocation, async (server) => {
    const serving = serve(await server.local());
    await Promise.race([Promise.all([serving, server.ready()]), stopped()]);
  });
}
