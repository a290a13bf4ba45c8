/**
 * The worker on a Unix socket. Who may reach it is a matter of its directory, which must be this user's alone; who may
 * use it, of the token.
 */
import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server as NetServer, type Socket } from 'node:net';
import { dirname, resolve } from 'node:path';
import type { Server } from '@atoll/server';
import { codeOf, SetupError } from '../failure.ts';
import { channelOf } from './channel.ts';

export async function serveSocket(options: {
  server: Server;
  token: string | undefined;
  legacy: boolean;
  path: string;
  stopped: Promise<void>;
}): Promise<void> {
  const { server, token, legacy, stopped } = options;
  const path = resolve(options.path);
  ownDirectory(dirname(path));
  await makeRoom(path);
  const hosts = new Set<Socket>();
  const listener = createServer((socket) => {
    hosts.add(socket);
    socket.on('close', () => hosts.delete(socket));
    void server.serve({ channel: channelOf(socket, socket), token, endsOnLongLine: true, legacy });
  });
  await listening(listener, path);
  chmodSync(path, 0o600);
  process.stdout.write(`${JSON.stringify({ event: 'listening', socket: path, pid: process.pid })}\n`);
  await stopped;
  for (const socket of hosts) socket.destroy();
  await new Promise((done) => listener.close(done));
}

function ownDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { mode, uid } = lstatSync(directory);
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0)
    throw new SetupError(
      `The directory ${directory} of the socket can be entered by others; take one of your own (chmod 700).`,
    );
}

/** Removes a socket that nobody listens on any more. */
async function makeRoom(path: string): Promise<void> {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (!there) return;
  if (!there.isSocket()) throw new SetupError(`${path} is there, and is no socket.`);
  if (await answers(path)) throw new SetupError(`A worker already listens on ${path}.`);
  rmSync(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise((settle) => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      settle(true);
    });
    socket.on('error', () => settle(false));
  });
}

function listening(listener: NetServer, path: string): Promise<void> {
  return new Promise((done, reject) => {
    listener.once('error', (error) => {
      const taken = codeOf(error) === 'EADDRINUSE';
      reject(
        new SetupError(
          taken ? `A worker already listens on ${path}.` : `Cannot listen on ${path}: ${error.message}`,
        ),
      );
    });
    listener.listen(path, () => done());
  });
}
