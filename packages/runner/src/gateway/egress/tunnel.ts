/**
 * A tunnel that nobody looks into: bytes both ways, as fast as the slower side takes them. Only what a TLS client says
 * first is read, for the name that it asks for.
 */
import type { Socket } from 'node:net';
import { peek } from './client-hello.ts';
import type { Pump } from './pump.ts';

/** Nothing either way for so long ends it. */
export const IDLE_MS = 10 * 60_000;

export type TunnelEnd = { sentBytes: number; receivedBytes: number; refusedName?: string };

/** Both are connected, and `pump` reads from the second. Resolves when it is over; never rejects. */
export function tunnel(
  client: Socket,
  upstream: Socket,
  { pump, host }: { pump: Pump; host: string },
): Promise<TunnelEnd> {
  const { promise, resolve } = Promise.withResolvers<TunnelEnd>();
  let refused: string | undefined;
  let first: Buffer = Buffer.alloc(0);

  function onFirst(chunk: Buffer): void {
    first = first.length === 0 ? chunk : Buffer.concat([first, chunk]);
    const seen = peek(first);
    if (seen.kind === 'more') return;
    client.off('data', onFirst);
    if (seen.kind === 'broken' || (seen.kind === 'named' && seen.name.toLowerCase() !== host)) {
      refused = seen.kind === 'named' ? seen.name : '';
      client.destroy();
      return;
    }
    upstream.write(first);
    client.pipe(upstream);
  }

  // What it has still to say when the client has said all.
  client.on('end', () => {
    if (client.listeners('data').includes(onFirst)) upstream.end(first);
  });
  client.on('data', onFirst);
  pump.start(upstream);
  client.setTimeout(IDLE_MS, () => client.destroy());
  for (const [one, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    one.on('error', () => other.destroy());
    // Where all was said and heard, the other side may still be saying it.
    one.on('close', () => (one.readableEnded && one.writableFinished) || other.destroy());
  }
  upstream.on('close', () => {
    const { bytesWritten: sentBytes, bytesRead: receivedBytes } = upstream;
    resolve({ sentBytes, receivedBytes, ...(refused === undefined ? {} : { refusedName: refused }) });
  });
  return promise;
}
