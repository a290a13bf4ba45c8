/**
 * A sandbox has no network; its gateway is a Unix socket. Programs know only `http://127.0.0.1:<port>`, so the
 * bridge listens there and passes each connection through, half-closes included.
 */
import { once } from 'node:events';
import { createConnection, createServer, type OnReadOpts, type Socket } from 'node:net';

export type PortForward = { readonly port: number; close(): void };

/** Rejects when the port cannot be had. A connection's own failure ends that connection only. */
export function forwardPort(options: { port: number; socketPath: string }): Promise<PortForward> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const { onread, start } = createPump(client);
    const gateway = createConnection({ path: options.socketPath, allowHalfOpen: true, onread });
    start(gateway);
    client.pipe(gateway);
    endTogether(client, gateway);
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

/**
 * To the runner, where it takes that: the listener goes over the channel of Node's IPC, and nothing else ever does. Resolves
 * when the runner has closed that, so that nobody finds it open.
 */
export async function handPort(port: number): Promise<void> {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  const closed = once(process, 'disconnect');
  process.send?.('listener', server);
  await closed;
  server.close();
}

/** What one read of an answer takes at most; memory that nothing was read into is not used. */
const BUFFER_BYTES = 256 * 1024;

/** From a socket that is about to be made into one that is there, by one buffer: twice as fast as a pipe. */
function createPump(to: Socket): { onread: OnReadOpts; start(from: Socket): void } {
  let source: Socket | undefined;
  let waiting = false;

  function written(): void {
    if (!waiting) return;
    waiting = false;
    source?.resume();
  }

  return {
    onread: {
      buffer: Buffer.allocUnsafeSlow(BUFFER_BYTES),
      callback(bytes, buffer) {
        to.write(buffer.subarray(0, bytes), written);
        // The buffer is not free before all of it is written.
        waiting = to.writableLength > 0;
        return !waiting;
      },
    },
    start(from) {
      source = from;
      from.on('end', () => to.end());
    },
  };
}

/** `pipe` and the pump end the other side when this one ended (half-close); a broken side takes the other with it. */
function endTogether(a: Socket, b: Socket): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.on('error', () => to.destroy());
    from.on('close', () => from.readableEnded || to.destroy());
  }
}
