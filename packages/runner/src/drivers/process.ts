import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { Duplex, PassThrough } from 'node:stream';
import { AtollError } from '@atoll/protocol/errors';
import type { Driver, Mount, SandboxProcess, SandboxSpec, Warn } from '../driver.ts';
import { endOf, liveSandbox, type SandboxHold } from './live-sandbox.ts';
import { freezeTree, type ProcessTree, signalTree, thawTree, treePids, treeUsage } from './process-tree.ts';
import { descendants, findProcess, isErrno, type ProcessEntry } from './processes.ts';
import { removeTree } from './remove-tree.ts';
import { createSandboxSet } from './sandbox-set.ts';
import { guardStandstill } from './standstill-guard.ts';
import { createWatchdog, fileSizeBlocks, type Watchdog } from './watchdog.ts';

/**
 * No isolation: for development, and for agents one would run by hand. What a sandbox of this driver does, the
 * runner's own user does. It does NOT give: a file system of its own (it reads and writes whatever the user
 * may), a network of its own, hidden processes, a uid of its own, a guard against `setsid` (a daemon that leaves
 * group, session and parent outlives its sandbox), or CPU limits.
 *
 * It does give: the same start, end, limits and files as every driver. Paths as seen inside the other drivers
 * (`/workspace`, `/home/agent`, the targets of `readOnly` and `sockets`) are replaced by the real ones where the
 * command or a value of the environment is such a path or one below it. Memory, processes and disk are held by
 * the watchdog, open files and file size by rlimit.
 *
 * A killed runner does not take the sandbox along by itself: the bridge ends at the end of fd 3 with all it started
 * (it is let go on, should it stand still just then), and `sweep` kills the group of a recorded leader that is still the same process (pid and start time).
 */
export type ProcessOptions = {
  /** The runner's data directory, made 0700. Sandboxes' directories are `<dataDir>/<kind>/<name>`. */
  dataDir: string;
  warn?: Warn;
  watchdogIntervalMs?: number;
};

const parts = ['workspace', 'home', 'tmp'] as const;
const recordName = 'process.json';

export function createProcessDriver(options: ProcessOptions): Driver {
  return new ProcessDriver(options);
}

class ProcessDriver implements Driver {
  readonly name = 'process';
  readonly #dataDir: string;
  readonly #warn: Warn;
  readonly #watchdog: Watchdog;
  readonly #sandboxes = createSandboxSet();

  constructor({ dataDir, warn = () => {}, watchdogIntervalMs }: ProcessOptions) {
    this.#dataDir = resolve(dataDir);
    this.#warn = warn;
    this.#watchdog = createWatchdog({ warn, ...(watchdogIntervalMs && { intervalMs: watchdogIntervalMs }) });
  }

  async check(): Promise<[]> {
    return [];
  }

  async prepare(directory: string): Promise<undefined> {
    this.#assertOurs(directory);
    mkdirSync(this.#dataDir, { recursive: true });
    chmodSync(this.#dataDir, 0o700);
    for (const part of parts) mkdirSync(join(directory, part), { recursive: true, mode: 0o700 });
  }

  async start(spec: SandboxSpec): Promise<SandboxProcess> {
    this.#assertOurs(spec.directory);
    return this.#sandboxes.start(() => launch(spec, this.#watchdog, this.#warn));
  }

  async remove(directory: string): Promise<void> {
    this.#assertOurs(directory);
    await removeTree(directory);
  }

  async sweep(): Promise<void> {
    for (const kind of listDirectories(this.#dataDir)) {
      for (const name of listDirectories(join(this.#dataDir, kind))) {
        await sweepRecorded(join(this.#dataDir, kind, name, recordName));
      }
    }
  }

  async stop(): Promise<void> {
    await this.#sandboxes.stop();
  }

  #assertOurs(directory: string): void {
    if (dirname(dirname(resolve(directory))) === this.#dataDir) return;
    throw new AtollError('sandbox_failed', `${directory} is not of the form ${this.#dataDir}/<kind>/<name>.`);
  }
}

async function launch(spec: SandboxSpec, watchdog: Watchdog, warn: Warn): Promise<SandboxProcess> {
  const inside = insidePaths(spec);
  const command = spec.command.map((word) => realPath(word, inside));
  const child = spawn('/bin/sh', ['-c', script(spec), 'sh', ...command], {
    cwd: join(spec.directory, 'workspace'),
    env: environment(spec, inside),
    stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
    // A session and group of its own, so that one signal reaches all of it.
    detached: true,
  });
  try {
    await once(child, 'spawn');
  } catch (error) {
    throw new AtollError('sandbox_failed', `The sandbox could not be started: ${error}`, { cause: error });
  }
  const channel = child.stdio[3];
  const { pid, stdout } = child;
  if (pid === undefined || stdout === null || !(channel instanceof Duplex))
    throw new AtollError('sandbox_failed');
  const record = join(spec.directory, recordName);
  writeFileSync(record, JSON.stringify({ pid, startTime: (await findProcess(pid))?.startTime }));
  const tree = groupTree(pid);
  const sandbox = liveSandbox({
    spec,
    pid,
    ended: endOf(child),
    channel,
    // Node drains an unread stdout when the child ends; what was said last must outlive that.
    output: stdout.pipe(new PassThrough()),
    watchdog,
    warn,
    hold: holdOf(pid, tree, record),
    watched: {
      disk: {
        directories: parts.map((part) => join(spec.directory, part)),
        temporaryBytes: () => 0,
        pids: () => treePids(tree),
      },
      members: tree.select,
      holdsMemory: true,
      holdsProcesses: true,
    },
  });
  return { ...sandbox, realPath: (path) => realPath(path, inside) };
}

/** The group, the session, and whoever left both but still has its parent. */
function groupTree(leader: number): ProcessTree {
  return {
    select(processes: readonly ProcessEntry[]) {
      const found = new Set(descendants(processes, leader));
      for (const entry of processes) {
        if (entry.group === leader || entry.session === leader) found.add(entry);
      }
      return [...found];
    },
  };
}

function holdOf(pid: number, tree: ProcessTree, record: string): SandboxHold {
  let guard: Disposable | undefined;
  return {
    outOfMemory: () => false,
    // All that are found die together: with the leader gone, who had left its group could no longer be told.
    kill: () => void signalTree(tree, 'SIGKILL', () => false).catch(() => killGroup(pid)),
    async freeze() {
      guard ??= await guardStandstill(-pid, 'CONT');
      await freezeTree(tree);
    },
    async thaw() {
      guard?.[Symbol.dispose]();
      guard = undefined;
      await thawTree(tree);
    },
    usage: () => treeUsage(tree),
    release: async () => {
      guard?.[Symbol.dispose]();
      await signalTree(tree, 'SIGKILL', () => false);
      rmSync(record, { force: true });
    },
    setupFailure: () => undefined,
  };
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch (error) {
    // macOS says EPERM of a group of zombies.
    if (!isErrno(error, 'ESRCH', 'EPERM')) throw error;
  }
}

function script({ limits }: SandboxSpec): string {
  return [
    'exec 2>&1',
    'ulimit -c 0',
    `ulimit -f ${fileSizeBlocks(limits)} 2>/dev/null`,
    `ulimit -n ${limits.openFiles} 2>/dev/null`,
    'exec "$@"',
  ].join('\n');
}

function insidePaths({ directory, readOnly, sockets }: SandboxSpec): Mount[] {
  return [
    { target: '/workspace', source: join(directory, 'workspace') },
    { target: '/home/agent', source: join(directory, 'home') },
    ...readOnly,
    ...sockets,
  ];
}

function realPath(word: string, inside: readonly Mount[]): string {
  const mount = inside.find(({ target }) => word === target || word.startsWith(`${target}/`));
  return mount ? mount.source + word.slice(mount.target.length) : word;
}

function environment(spec: SandboxSpec, inside: readonly Mount[]): Record<string, string> {
  const given = Object.entries(spec.env).map(([name, value]) => [name, realPath(value, inside)]);
  return {
    PATH: [dirname(process.execPath), '/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin'].join(
      delimiter,
    ),
    HOME: join(spec.directory, 'home'),
    USER: 'agent',
    LOGNAME: 'agent',
    SHELL: '/bin/sh',
    TMPDIR: join(spec.directory, 'tmp'),
    LANG: 'C.UTF-8',
    ...Object.fromEntries(given),
  };
}

async function sweepRecorded(record: string): Promise<void> {
  const recorded = readRecord(record);
  if (recorded) {
    const found = await findProcess(recorded.pid);
    if (found && found.startTime === recorded.startTime && found.group === recorded.pid) {
      killGroup(recorded.pid);
      await signalTree(groupTree(recorded.pid), 'SIGKILL', () => false);
    }
  }
  rmSync(record, { force: true });
}

/** The sandbox could have written it: anything but a pid above 1 and a start time is no record. */
function readRecord(path: string): { pid: number; startTime: string } | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof value !== 'object' || value === null || !('pid' in value) || !('startTime' in value)) return;
    const { pid, startTime } = value;
    if (!Number.isSafeInteger(pid) || typeof pid !== 'number' || pid < 2) return;
    return typeof startTime === 'string' && startTime !== '' ? { pid, startTime } : undefined;
  } catch {
    return undefined; // Not there, or not a record.
  }
}

function listDirectories(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}
