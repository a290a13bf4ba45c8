/**
 * A model API that costs nothing: answers a POST of `{chunks, everyMs, hold}` with an SSE stream of so many chunks, each
 * with the time at which it was written, and keeps it open when told to hold. With a URL as its argument it is the least
 * that a pass-through can be instead: every call goes on to that URL and its answer comes back, and nothing is looked at.
 */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export type Asked = { chunks: number; everyMs: number; hold: boolean };

const [, , upstream] = process.argv;
const agent = new http.Agent({ keepAlive: true });
const server = http.createServer((request, response) => {
  if (upstream === undefined) void answer(request, response);
  else passOn(upstream, request, response);
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
});

async function answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  const { chunks, everyMs, hold } = JSON.parse(Buffer.concat(await request.toArray()).toString()) as Asked;
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (let count = 1; ; count++) {
    response.write(
      `data: {"writtenUs":${Number(process.hrtime.bigint() / 1000n)},"pad":"${'x'.repeat(160)}"}\n\n`,
    );
    if (count >= chunks) break;
    await delay(everyMs);
  }
  if (!hold) response.end();
}

function passOn(url: string, request: http.IncomingMessage, response: http.ServerResponse): void {
  const { method, headers } = request;
  const going = http.request(url + request.url, { method, headers, agent }, (reply) => {
    response.writeHead(reply.statusCode ?? 502, reply.headers);
    reply.pipe(response);
  });
  going.on('error', () => response.destroy());
  response.on('close', () => going.destroy());
  request.pipe(going);
}
