import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { HostChannel, Server } from '@atoll/server';
import { channelOf } from './channel.ts';

/** Whoever spawned the worker is its host, and when they are gone it has nothing left to do. */
export function serveStdio(options: {
  server: Server;
  token: string | undefined;
  legacy: boolean;
}): Promise<void> {
  const { server, token, legacy } = options;
  return server.serve({ channel: stdioChannel(), token, endsOnLongLine: false, legacy });
}

/** Whoever spawned this process. */
export function stdioChannel(): HostChannel {
  return channelOf(process.stdin, stdout());
}

/** Node writes to pipes of its stdout synchronously: a host that reads slowly would stop everything (I9). */
function stdout(): Writable {
  const kind = fstatSync(1);
  return kind.isFIFO() || kind.isSocket()
    ? new Socket({ fd: 1, readable: false, writable: true })
    : process.stdout;
}
