/**
 * Answers every request with so many megabytes: `DIRECTORY MEGABYTES OPEN SECRET RAW`, by HTTP and HTTPS at OPEN, by HTTPS
 * at SECRET, and by HTTP on port 443 at RAW. Says `ready` when it listens; its certificates are in `DIRECTORY/ca.pem`.
 */
import http, { type RequestListener } from 'node:http';
import { join } from 'node:path';
import { createServers } from '../stand-ins/https-server.ts';

const [directory = '', megabytes = '', open = '', secret = '', raw = ''] = process.argv.slice(2);
const MiB = 1024 * 1024;
const chunk = Buffer.alloc(MiB / 4, 'x');
const total = Number(megabytes) * MiB;

const answer: RequestListener = (_request, response) => {
  let left = total;
  response.writeHead(200, { 'content-length': total });
  function write(): void {
    while (left > 0) {
      left -= chunk.length;
      if (!response.write(chunk)) return void response.once('drain', write);
    }
    response.end();
  }
  write();
};

const servers = createServers(join(directory, 'ca.pem'));
await servers.http(open, answer);
await servers.https(open, answer);
await servers.https(secret, answer);
http.createServer(answer).listen(443, raw, () => console.log('ready'));
