/** What the stand-ins of HTTP APIs have in common: a server on loopback, bodies of bounded size, and slow streams. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay, setImmediate } from 'node:timers/promises';

export type RecordedRequest = {
  method: string;
  path: string;
  headers: Record<string, string | string[] | undefined>;
  body: unknown;
};

const MAX_BODY_BYTES = 32 * 1024 * 1024;

type Handle = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export async function listen(handle: Handle): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    // The client left in the middle of its request: nobody is there to be told.
    handle(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { url: `http://127.0.0.1:${port}`, close };
}

/** The body, or undefined when it is larger than the originals take. */
export async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size <= MAX_BODY_BYTES) parts.push(part);
  }
  return size > MAX_BODY_BYTES ? undefined : Buffer.concat(parts);
}

/** undefined: not JSON, which the checks say in the originals' words. */
export function parseBody(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

export type Pace = { delayMs: number; cutAfterChunks: number | undefined };

export async function stream(
  response: ServerResponse,
  events: Iterable<{ text: string; delta: boolean }>,
  { delayMs, cutAfterChunks }: Pace,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
  });
  let deltas = 0;
  for (const event of events) {
    if (event.delta && deltas++ === cutAfterChunks) return cut(response);
    // An interrupted client closes the connection; a stream to nobody ends there.
    if (event.delta && delayMs > 0) await delay(delayMs, undefined, { signal: gone.signal });
    if (gone.signal.aborted) return;
    response.write(event.text);
  }
  response.end();
}

/** Closes the connection in the middle of the body, after what was written so far went out. */
async function cut(response: ServerResponse): Promise<void> {
  await setImmediate();
  response.socket?.end();
}
