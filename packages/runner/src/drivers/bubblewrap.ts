import { createHash } from 'node:crypto';
import { chmodSync, chownSync, lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { AtollError } from '@atoll/protocol/errors';
import type { Driver, DriverProblem, SandboxOwner, SandboxProcess, SandboxSpec } from '../driver.ts';
import { adopt } from './bubblewrap-adopt.ts';
import { bubblewrapArgs, writeEtc } from './bubblewrap-args.ts';
import { checkBubblewrap } from './bubblewrap-check.ts';
import {
  chainError,
  closeLauncher,
  isAlive,
  type Launcher,
  openLauncher,
  startChain,
} from './bubblewrap-start.ts';
import { type Cgroups, openCgroups, type SandboxCgroup, sweepCgroups } from './cgroup.ts';
import { createHostUids, type HostUids, uidRange } from './host-uids.ts';
import { type MountView, openMountView } from './mount-view.ts';
import { isErrno } from './processes.ts';
import { removeTree, runTool } from './remove-tree.ts';
import { seccompProgram } from './seccomp.ts';
import { createWatchdog, type Watchdog } from './watchdog.ts';

/**
 * Sandboxes by bubblewrap. One start is this chain, each step becoming the next by exec, so the pid stays:
 * 1. `sh`, started beforehand, joins the control group and takes the rlimits on (as root, in the host's namespaces);
 * 2. `nsenter` (as root only) enters the mount view and becomes the sandbox's own uid and gid;
 * 3. `bwrap`, with an empty environment and its arguments by a descriptor, since both can be read inside as
 *    pid 1's; it makes the namespaces, drops everything, sets the filter and runs the command.
 *
 * Limits. Memory, processes and CPU by control group (cgroup.ts); without one, memory and processes by the
 * watchdog, CPU not at all. Open files and the size of one file by rlimit, and as root the number of processes
 * too, which counts per uid. Disk by the watchdog (disk-usage.ts), temporary files by the size of their mount.
 *
 * The end. bwrap outside and bwrap as pid 1 die with their parents, so a kill -9 of the runner takes all; what
 * that misses (a runner killed in the millisecond before bwrap asks for it) `sweep` finds in the control groups.
 * A sandbox has ended when its pid 1 is gone, which the kernel lets happen only after every other process in
 * the namespace.
 */
export type BubblewrapOptions = {
  /** The runner's data directory, made 0700. Sandboxes' directories are `<dataDir>/<kind>/<name>`. */
  dataDir: string;
  warn?: (error: unknown, what: string) => void;
  watchdogIntervalMs?: number;
  /** False: hold limits as on a machine without usable control groups. */
  cgroups?: boolean;
};

export function createBubblewrapDriver(options: BubblewrapOptions): Driver {
  return new BubblewrapDriver(options);
}

/** What is made on the host at first use; asking a driver whether it could run leaves no trace. */
type Ground = {
  dataDir: string;
  /** Undefined when we are not root: sandboxes then run as our own uid. */
  uids: HostUids | undefined;
  cgroups: Cgroups | undefined;
};

class BubblewrapDriver implements Driver {
  readonly name = 'bubblewrap';
  readonly #options: BubblewrapOptions;
  readonly #watchdog: Watchdog;
  readonly #seccomp = seccompProgram();
  readonly #live = new Set<SandboxProcess>();
  readonly #starting = new Set<Promise<SandboxProcess>>();
  #laid: Ground | undefined;
  #etc: string | undefined;
  #stopped = false;
  #view: Promise<MountView> | undefined;
  #nextLauncher: Promise<Launcher> | undefined;

  constructor(options: BubblewrapOptions) {
    this.#options = options;
    const { warn = () => {}, watchdogIntervalMs } = options;
    this.#watchdog = createWatchdog({ warn, ...(watchdogIntervalMs && { intervalMs: watchdogIntervalMs }) });
  }

  async check(): Promise<DriverProblem[]> {
    return checkBubblewrap(isRoot() ? uidRange(resolve(this.#options.dataDir)).first : undefined);
  }

  async prepare(directory: string): Promise<SandboxOwner> {
    const path = this.#ours(directory);
    const uid = this.#ground.uids?.for(path);
    const owner = uid === undefined ? undefined : { uid, gid: uid };
    makeDirectory(dirname(path), 0o711, undefined);
    makeDirectory(path, 0o710, owner && { uid: 0, gid: owner.gid });
    for (const part of ['workspace', 'home']) await prepareTree(join(path, part), owner);
    return owner;
  }

  async start(spec: SandboxSpec): Promise<SandboxProcess> {
    if (this.#stopped) throw new AtollError('shutting_down');
    const starting = this.#startNow({ ...spec, directory: this.#ours(spec.directory) });
    this.#starting.add(starting);
    return starting.finally(() => this.#starting.delete(starting));
  }

  async remove(directory: string): Promise<void> {
    const path = this.#ours(directory);
    await removeTree(path);
    this.#ground.uids?.release(path);
  }

  async sweep(): Promise<void> {
    const { dataDir, cgroups } = this.#ground;
    const record = join(dataDir, 'system', 'cgroups');
    await mkdir(dirname(record), { recursive: true });
    for (const place of await readLines(record)) await sweepCgroups(place);
    await cgroups?.sweep();
    await writeFile(record, (cgroups?.places ?? []).join('\n'));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.allSettled(this.#starting);
    const live = [...this.#live];
    for (const sandbox of live) sandbox.kill('server_stopped');
    await Promise.all(live.map((sandbox) => sandbox.exited));
    const launcher = await this.#nextLauncher?.catch(() => undefined);
    this.#nextLauncher = undefined;
    if (launcher) await closeLauncher(launcher);
    const view = await this.#view?.catch(() => undefined);
    this.#view = undefined;
    await view?.close();
    this.#laid?.cgroups?.release();
    this.#laid = undefined;
  }

  async #startNow(spec: SandboxSpec): Promise<SandboxProcess> {
    const cgroup = this.#ground.cgroups?.create(spec.id, spec.limits);
    try {
      const sandbox = await this.#launch(spec, this.#ground, cgroup);
      this.#live.add(sandbox);
      void sandbox.exited.finally(() => this.#live.delete(sandbox));
      return sandbox;
    } catch (error) {
      await cgroup?.remove();
      if (error instanceof AtollError) throw error;
      const message = error instanceof Error ? error.message : String(error);
      throw new AtollError('sandbox_failed', `The sandbox could not be started: ${message}`, {
        cause: error,
      });
    }
  }

  async #launch(
    spec: SandboxSpec,
    { dataDir, uids }: Ground,
    cgroup: SandboxCgroup | undefined,
  ): Promise<SandboxProcess> {
    const view = uids && (await this.#openView());
    const chain = startChain(await this.#takeLauncher(), {
      command: spec.command,
      limits: spec.limits,
      joinScript: cgroup?.joinScript ?? '',
      become: uids && view && { namespace: view.namespace, uid: uids.for(spec.directory) },
    });
    try {
      this.#etc ??= writeEtc(dataDir);
      const etc = this.#etc;
      const show = view ? view.show : async (source: string) => realpathSync(source);
      const args = await bubblewrapArgs({ spec, etc, show });
      chain.seccomp.end(this.#seccomp);
      chain.args.end(args.map((arg) => `${arg}\0`).join(''));
    } catch (error) {
      chain.child.kill('SIGKILL');
      throw error;
    }
    const innerPid = await chain.status.innerPid;
    if (innerPid === undefined) throw await chainError(chain);
    this.#openNextLauncher();
    return adopt({ spec, chain, cgroup, innerPid, watchdog: this.#watchdog });
  }

  async #takeLauncher(): Promise<Launcher> {
    const next = this.#nextLauncher;
    this.#nextLauncher = undefined;
    const launcher = await next?.catch(() => undefined);
    return launcher && isAlive(launcher.child) ? launcher : openLauncher();
  }

  /** Now, while the sandbox just made is on its way up and the runner has nothing to do for it. */
  #openNextLauncher(): void {
    if (this.#stopped || this.#nextLauncher) return;
    this.#nextLauncher = openLauncher();
    // Told to nobody: the next sandbox tries again.
    this.#nextLauncher.catch(() => undefined);
  }

  get #ground(): Ground {
    this.#laid ??= layGround(this.#options);
    return this.#laid;
  }

  async #openView(): Promise<MountView> {
    const known = this.#view;
    const open = await known?.catch(() => undefined);
    if (open?.alive()) return open;
    // Another start may have opened one meanwhile; a second would outlive the driver.
    const others = this.#view === known ? undefined : this.#view;
    this.#view = others ?? openMountView(this.#ground.dataDir);
    return this.#view;
  }

  /** The directory by its real path; AtollError `sandbox_failed` when it is not of the form we make. */
  #ours(directory: string): string {
    const { dataDir } = this.#ground;
    const kind = dirname(resolve(directory));
    if ([dataDir, resolve(this.#options.dataDir)].includes(dirname(kind))) {
      return join(dataDir, basename(kind), basename(directory));
    }
    throw new AtollError('sandbox_failed', `${directory} is not of the form ${dataDir}/<kind>/<name>.`);
  }
}

function layGround({ dataDir, cgroups = true }: BubblewrapOptions): Ground {
  mkdirSync(dataDir, { recursive: true });
  chmodSync(dataDir, 0o700);
  const real = realpathSync(dataDir);
  return {
    dataDir: real,
    uids: isRoot() ? createHostUids(real) : undefined,
    cgroups: cgroups ? openCgroups(hashOf(real)) : undefined,
  };
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

async function prepareTree(path: string, owner: SandboxOwner): Promise<void> {
  const before = lstatSync(path, { throwIfNoEntry: false });
  makeDirectory(path, 0o700, owner);
  // From elsewhere, or from before the data directory moved and its uids with it.
  if (before && owner && before.uid !== owner.uid) {
    await runTool('chown', ['-Rh', `${owner.uid}:${owner.gid}`, '--', path]);
  }
}

function makeDirectory(path: string, mode: number, owner: SandboxOwner): void {
  mkdirSync(path, { recursive: true });
  // A sandbox could put a link here only if it could write in the parent, which is ours.
  if (!lstatSync(path).isDirectory()) throw new AtollError('sandbox_failed', `${path} is not a directory.`);
  if (owner) chownSync(path, owner.uid, owner.gid);
  chmodSync(path, mode);
}

function hashOf(dataDir: string): string {
  return createHash('sha256').update(dataDir).digest('hex').slice(0, 12);
}

async function readLines(path: string): Promise<string[]> {
  try {
    return (await readFile(path, 'utf8')).split('\n').filter(Boolean);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
