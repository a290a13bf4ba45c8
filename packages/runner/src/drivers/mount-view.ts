import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { AtollError } from '@atoll/protocol/errors';

/**
 * Lets a sandbox's own uid reach its directory although the data directory is 0700 root's: a private mount
 * namespace, held by one shell for as long as the driver lives, in which a tmpfs over `/sys` (which bwrap has no
 * use for) shows the data directory's subdirectories and whatever else lies behind closed directories, such as
 * a Node below `/root`. bwrap is started in that namespace by nsenter, which costs 1 ms where unshare, mount and
 * setpriv for each start cost 4.
 *
 * Nothing of it is on the host, and the shell ends with the runner, whose pipe it reads its commands from.
 */
export type MountView = {
  /** For `nsenter --mount=`. */
  readonly namespace: string;
  /** The path by which others than root see `source` in the namespace. */
  show(source: string): Promise<string>;
  alive(): boolean;
  close(): Promise<void>;
};

const root = '/sys';

export async function openMountView(dataDir: string): Promise<MountView> {
  const shell = spawn('unshare', ['--mount', '--propagation', 'slave', 'sh'], {
    cwd: '/',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  const run = commandRunner(shell);
  const bound = new Map<string, Promise<string>>();

  /** A file made anew under an old name is another file: the inode tells. */
  function bind(source: string): Promise<string> {
    const { dev, ino } = statSync(source);
    const key = `${dev}:${ino}:${source}`;
    const found = bound.get(key) ?? mount(source, join(root, String(bound.size)));
    bound.set(key, found);
    return found;
  }

  async function mount(source: string, target: string): Promise<string> {
    const place = statSync(source).isDirectory() ? `mkdir ${target}` : `: > ${target}`;
    await run(`${place} && mount --bind ${quote(source)} ${target}`);
    return target;
  }

  async function show(source: string): Promise<string> {
    const real = realpathSync(source);
    const [kind, ...rest] = real.startsWith(`${dataDir}/`) ? real.slice(dataDir.length + 1).split('/') : [];
    if (kind === undefined) return isOpen(real) && isReadable(real) ? real : bind(real);
    // One mount shows all of a kind; only what is closed below it needs one of its own.
    return isOpen(real, dataDir) ? join(await bind(join(dataDir, kind)), ...rest) : bind(real);
  }

  await once(shell, 'spawn');
  await run(`mount -t tmpfs -o mode=0755,size=1m atoll ${root}`);
  return {
    namespace: `/proc/${shell.pid}/ns/mnt`,
    alive: () => shell.exitCode === null && shell.signalCode === null,
    show,
    async close() {
      if (shell.exitCode !== null || shell.signalCode !== null) return;
      shell.stdin.end();
      await once(shell, 'exit');
    },
  };
}

/** Whether every directory on the way, below `top`, lets everybody pass. */
function isOpen(path: string, top = '/'): boolean {
  for (let at = dirname(path); at !== top; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
  }
  return true;
}

function isReadable(path: string): boolean {
  return (statSync(path).mode & 0o004) !== 0;
}

/** One command at a time; each is answered by a line, `ok` or what went wrong. */
function commandRunner(shell: ChildProcessByStdio<Writable, Readable, Readable>) {
  const errors: string[] = [];
  let answered: (line: string) => void = () => {};
  shell.stdout.setEncoding('utf8').on('data', (line: string) => answered(line.trim()));
  shell.stderr.setEncoding('utf8').on('data', (text: string) => errors.push(text));
  shell.stdin.on('error', () => answered('gone'));
  shell.on('exit', () => answered('gone'));
  let turn: Promise<unknown> = Promise.resolve();

  async function runNow(command: string): Promise<void> {
    const answer = await new Promise<string>((resolve) => {
      answered = resolve;
      if (shell.exitCode !== null || shell.signalCode !== null) return resolve('gone');
      shell.stdin.write(`{ ${command}; } </dev/null && echo ok || echo failed\n`);
    });
    if (answer === 'ok') return;
    const detail = errors.splice(0).join('').trim() || `the mount namespace's shell is ${answer}`;
    throw new AtollError('sandbox_failed', `Could not mount for a sandbox: ${detail}`);
  }
  return (command: string): Promise<void> => {
    const done = turn.then(() => runNow(command));
    turn = done.catch(() => {});
    return done;
  };
}

/** As one word of a shell's script. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
