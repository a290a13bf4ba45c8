/**
 * A far end for the client's tests: a real HTTP server with one session whose log is given, which cuts, stalls and
 * re-frames its streams as a plan says. It knows the wire only, not how Atoll makes what is on it.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type LogEvent = { event: string; data: string };

/** What happens to one connection. */
export type Fate = {
  /** Bytes after which the socket is destroyed. */
  cutAfterBytes?: number;
  /** Bytes after which nothing more comes, the socket staying open. */
  stallAfterBytes?: number;
  /** Answered instead of a stream. */
  status?: number;
  problem?: unknown;
  lineEnd?: '\n' | '\r\n';
  pings?: boolean;
  /** Bytes a write. */
  chunkBytes?: number;
};

export type FlakyServer = {
  url: string;
  requests: { method: string; path: string; headers: IncomingMessage['headers']; body: string }[];
  close(): Promise<void>;
};

export const SESSION = 'ses_00000000000000000000000000';
export const TURN = 'turn_00000000000000000000000001';

export async function startFlakyServer(options: {
  log: readonly LogEvent[];
  /** Which seqs the answer to a POST holds. Default: all. */
  turnSeqs?: readonly number[];
  fate?: (connection: number) => Fate;
}): Promise<FlakyServer> {
  const requests: FlakyServer['requests'] = [];
  const server = createServer((request, response) => {
    void readBody(request).then((body) => {
      requests.push({
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body,
      });
      const after = Number(request.headers['last-event-id'] ?? 0);
      const own = request.method === 'POST' ? options.turnSeqs : undefined;
      const fate = options.fate?.(requests.length) ?? {};
      if (fate.status !== undefined) return refuse(response, fate);
      const text = streamText(options.log, after, own, fate);
      return send(response, new TextEncoder().encode(text), fate);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function streamText(
  log: readonly LogEvent[],
  after: number,
  own: readonly number[] | undefined,
  fate: Fate,
): string {
  const status = own === undefined ? 'idle' : 'running';
  let text = `retry: 1000\n\nevent: ready\ndata: {"sessionId":"${SESSION}","turnId":"${TURN}","status":"${status}"}\n\n`;
  log.forEach(({ event, data }, index) => {
    const seq = index + 1;
    if (seq <= after || (own !== undefined && !own.includes(seq))) return;
    if (fate.pings === true) text += ': ping\n\n';
    text += `id: ${seq}\nevent: ${event}\ndata: ${data}\n\n`;
  });
  return text.replaceAll('\n', fate.lineEnd ?? '\n');
}

function refuse(response: ServerResponse, fate: Fate): void {
  response.writeHead(fate.status ?? 500, { 'content-type': 'application/problem+json' });
  response.end(typeof fate.problem === 'string' ? fate.problem : JSON.stringify(fate.problem ?? {}));
}

async function send(response: ServerResponse, bytes: Uint8Array, fate: Fate): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
  const end = Math.min(
    bytes.length,
    fate.cutAfterBytes ?? bytes.length,
    fate.stallAfterBytes ?? bytes.length,
  );
  const step = fate.chunkBytes ?? (end || 1);
  for (let at = 0; at < end; at += step) {
    response.write(bytes.subarray(at, Math.min(end, at + step)));
    if (step < end) await sleep(1);
  }
  if (fate.stallAfterBytes !== undefined) return;
  if (fate.cutAfterBytes === undefined) return void response.end();
  // The write must have left before the cut, else every cut would fall on byte 0.
  await sleep(2);
  response.destroy();
}

async function readBody(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request) body += chunk;
  return body;
}
