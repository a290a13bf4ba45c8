/**
 * The floor: the least a Node server can do that still serves agents over SSE. Lines that come in by Unix sockets go
 * out framed as events; nothing is parsed, checked, kept or made durable. Arguments: the agent, how many of it to start.
 *
 *   POST /sessions/N/messages   hands the body to agent N and streams its lines up to its result
 *   POST /durable/N/messages    the same with an fdatasync before and after: a turn that is on disk, and nothing else
 *   POST /reply                 parses the body and answers with one event: a turn that costs nothing
 *   GET  /health                as many bytes of JSON as Atoll answers
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import http from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SSE = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' };
const LOG_PAGES = 512;
const RESULT = '{"type":"result"';
const pool = { capacity: 16, reserved: 10, running: 1, idle: 9, warm: 0 };
const health = { status: 'ok', version: '0.1.0', uptimeMs: 123_456, sessions: 10, pool };

const [, , agent = '', count = '0'] = process.argv;
const directory = mkdtempSync(join(tmpdir(), 'atoll-bench-floor-'));
const log = openSync(join(directory, 'log'), 'w');
const page = Buffer.alloc(8192, 'x');
// Written in place from here on, as a write-ahead log is.
writeSync(log, Buffer.alloc(page.length * LOG_PAGES));
fdatasyncSync(log);
let pages = 0;
const bridges = await startBridges(Number(count));
const server = http.createServer((request, response) => void serve(request, response));
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
});
process.on('SIGTERM', () => {
  rmSync(directory, { recursive: true, force: true });
  process.exit(0);
});

async function startBridges(wanted: number): Promise<Socket[]> {
  const path = join(directory, 'bridges.sock');
  const sockets: Socket[] = [];
  const listener = createServer((socket) => void sockets.push(socket.pause())).listen(path);
  await once(listener, 'listening');
  const main = fileURLToPath(new URL('bare-bridge.ts', import.meta.url));
  while (sockets.length < wanted) {
    spawn(process.execPath, [main, path, agent], { stdio: ['ignore', 'ignore', 'inherit'] });
    await once(listener, 'connection');
  }
  return sockets;
}

async function serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  if (request.url === '/health') {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(health));
    return;
  }
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += chunk;
  const [, kind, number] = /^\/(sessions|durable)\/(\d+)\//.exec(request.url ?? '') ?? [];
  const bridge = bridges[Number(number)];
  response.writeHead(200, SSE);
  if (bridge && kind === 'durable') {
    write();
    passThrough(bridge, body, response, write);
  } else if (bridge) passThrough(bridge, body, response);
  else response.end(`event: done\ndata: ${JSON.stringify(JSON.parse(body))}\n\n`);
}

function write(): void {
  writeSync(log, page, 0, page.length, (pages++ % LOG_PAGES) * page.length);
  fdatasyncSync(log);
}

/** Latin-1: one byte a character, so nothing is decoded. */
function passThrough(
  bridge: Socket,
  body: string,
  response: http.ServerResponse,
  beforeEnd: () => void = () => undefined,
): void {
  let seq = 0;
  let rest = '';
  const onData = (chunk: Buffer) => {
    const lines = (rest + chunk.toString('latin1')).split('\n');
    rest = lines.pop() ?? '';
    let frames = '';
    for (const line of lines) {
      if (line.startsWith(RESULT)) return end(`${frames}id: ${++seq}\nevent: done\ndata: ${line}\n\n`);
      frames += `id: ${++seq}\nevent: message\ndata: ${line}\n\n`;
    }
    if (frames !== '' && !response.write(frames, 'latin1')) bridge.pause();
  };
  const onDrain = () => void bridge.resume();
  const end = (frames: string) => {
    bridge.off('data', onData).pause();
    beforeEnd();
    response.off('drain', onDrain).end(frames, 'latin1');
  };
  response.on('drain', onDrain);
  bridge.on('data', onData).resume();
  bridge.write(`${body}\n`);
}
