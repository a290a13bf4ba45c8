/** A relay on loopback that cuts the connections through it, for clients that must come back. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export type Relay = {
  readonly url: string;
  /** How often it cut. */
  readonly cuts: number;
  [Symbol.asyncDispose](): Promise<void>;
};

/** `target` is asked at each connection; `cutAfter` too: how many bytes of the server's it lets through. */
export async function startRelay(options: { target: () => string; cutAfter?: () => number }): Promise<Relay> {
  const { target, cutAfter = () => Number.POSITIVE_INFINITY } = options;
  const sockets = new Set<Socket>();
  let cuts = 0;
  const server = createServer((near) => {
    const { hostname, port } = new URL(target());
    const far = connect(Number(port), hostname);
    let left = cutAfter();
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    near.pipe(far);
    far.on('data', (chunk: Buffer) => {
      near.write(chunk.subarray(0, Math.max(0, left)));
      left -= chunk.length;
      if (left > 0) return;
      cuts++;
      near.destroySoon();
      far.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get cuts() {
      return cuts;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((closed) => server.close(closed));
    },
  };
}
