/**
 * The Docker engine of a test run: its own, in a directory of its own, with no network, ended with the run. An engine
 * that serves others is left alone, unless DOCKER_HOST names it for the tests.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export const NEEDS_DOCKER = '.docker.test.ts';

const READY_MS = 30_000;

export type DockerEngine = { readonly url: string; stop(): Promise<void> };

/** undefined where one cannot be started; the tests that need it say so. */
export async function startDockerEngine(): Promise<DockerEngine | undefined> {
  if (process.env.DOCKER_HOST) return { url: process.env.DOCKER_HOST, stop: async () => undefined };
  if (process.getuid?.() !== 0 || spawnSync('dockerd', ['--version']).status !== 0) return undefined;
  // Short: the path of a socket in it has 107 bytes.
  const directory = mkdtempSync(join(tmpdir(), 'atoll-dockerd-'));
  const socket = join(directory, 'docker.sock');
  const places = ['data-root', 'exec-root'].flatMap((name) => [`--${name}`, join(directory, name)]);
  const log = openSync(join(directory, 'log'), 'w');
  const own = ['--host', `unix://${socket}`, '--pidfile', join(directory, 'pid')];
  const daemon = spawn('dockerd', [...places, ...own, '--iptables=false', '--bridge=none'], {
    stdio: ['ignore', log, log],
    // Ctrl-C is for the tests: what they end with needs the engine.
    detached: true,
  });
  const end = Date.now() + READY_MS;
  while (!existsSync(socket) && daemon.exitCode === null && Date.now() < end) await delay(50);
  const stop = () => stopEngine(daemon, directory);
  if (existsSync(socket)) return { url: `unix://${socket}`, stop };
  console.error(`dockerd does not come up:\n${readFileSync(join(directory, 'log'), 'utf8').slice(-2000)}`);
  await stop();
  return undefined;
}

async function stopEngine(daemon: ChildProcess, directory: string): Promise<void> {
  if (daemon.exitCode === null && daemon.signalCode === null) {
    daemon.kill('SIGTERM');
    await once(daemon, 'exit');
  }
  // What it mounted for itself.
  for (const mount of mountsBelow(directory)) spawnSync('umount', ['-l', mount]);
  rmSync(directory, { recursive: true, force: true });
}

function mountsBelow(directory: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${directory}/`))
    .reverse();
}
