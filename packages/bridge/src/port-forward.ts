/**
 * A sandbox has no network; its gateway is a Unix socket. Programs know only `http://127.0.0.1:<port>`, so the
 * bridge listens there and pipes each connection through, half-closes included.
 */
import { createConnection, createServer, type Socket } from 'node:net';

export type PortForward = { readonly port: number; close(): void };

/** Rejects when the port cannot be had. A connection's own failure ends that connection only. */
export function forwardPort(options: { port: number; socketPath: string }): Promise<PortForward> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    join(client, createConnection({ path: options.socketPath, allowHalfOpen: true }));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : options.port;
      resolve({ port, close: () => server.close() });
    });
  });
}

function join(a: Socket, b: Socket): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    // `pipe` ends the other side when this one ended (half-close); a broken side takes the other with it.
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.on('close', () => from.readableEnded || to.destroy());
  }
}
