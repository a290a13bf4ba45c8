import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Driver, DriverProblem, SandboxOwner, SandboxProcess, SandboxSpec, Warn } from '../driver.ts';
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
import { type Cgroups, openCgroups, type SandboxCgroup } from './cgroup.ts';
import { sweepRecordedCgroups } from './cgroup-record.ts';
import { uidRange } from './host-uids.ts';
import { type MountView, openMountView } from './mount-view.ts';
import { isRoot, openSandboxDirectories, type SandboxDirectories } from './sandbox-directories.ts';
import { createSandboxSet } from './sandbox-set.ts';
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
  warn?: Warn;
  watchdogIntervalMs?: number;
  /** False: hold limits as on a machine without usable control groups. */
  cgroups?: boolean;
};

export function createBubblewrapDriver(options: BubblewrapOptions): Driver {
  return new BubblewrapDriver(options);
}

/** What is made on the host at first use; asking a driver whether it could run leaves no trace. */
type Ground = { directories: SandboxDirectories; cgroups: Cgroups | undefined };

class BubblewrapDriver implements Driver {
  readonly name = 'bubblewrap';
  readonly #options: BubblewrapOptions;
  readonly #warn: Warn;
  readonly #watchdog: Watchdog;
  readonly #seccomp = seccompProgram();
  readonly #sandboxes = createSandboxSet();
  #laid: Ground | undefined;
  #etc: string | undefined;
  #stopped = false;
  #view: Promise<MountView> | undefined;
  #nextLauncher: Promise<Launcher> | undefined;

  constructor(options: BubblewrapOptions) {
    this.#options = options;
    const { warn = () => {}, watchdogIntervalMs } = options;
    this.#warn = warn;
    this.#watchdog = createWatchdog({ warn, ...(watchdogIntervalMs && { intervalMs: watchdogIntervalMs }) });
  }

  async check(): Promise<DriverProblem[]> {
    return checkBubblewrap(isRoot() ? uidRange(resolve(this.#options.dataDir)).first : undefined);
  }

  async prepare(directory: string): Promise<SandboxOwner> {
    return this.#ground.directories.prepare(directory);
  }

  async start(spec: SandboxSpec): Promise<SandboxProcess> {
    return this.#sandboxes.start(() =>
      this.#startNow({ ...spec, directory: this.#ground.directories.ours(spec.directory) }),
    );
  }

  async remove(directory: string): Promise<void> {
    await this.#ground.directories.remove(directory);
  }

  async sweep(): Promise<void> {
    const { directories, cgroups } = this.#ground;
    await sweepRecordedCgroups(directories.dataDir, cgroups);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#sandboxes.stop();
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
      return await this.#launch(spec, this.#ground, cgroup);
    } catch (error) {
      await cgroup?.remove();
      throw error;
    }
  }

  async #launch(
    spec: SandboxSpec,
    { directories }: Ground,
    cgroup: SandboxCgroup | undefined,
  ): Promise<SandboxProcess> {
    const owner = directories.ownerOf(spec.directory);
    const view = owner && (await this.#openView());
    const launcher = await this.#takeLauncher();
    const hands = spec.handsListener === true && launcher.handed !== undefined;
    const chain = startChain(launcher, {
      command: spec.command,
      limits: spec.limits,
      hands,
      joinScript: cgroup?.joinScript ?? '',
      become: owner && view && { namespace: view.namespace, uid: owner.uid },
    });
    try {
      this.#etc ??= writeEtc(directories.dataDir);
      const etc = this.#etc;
      const show = view ? view.show : async (source: string) => realpathSync(source);
      const args = await bubblewrapArgs({ spec, hands, etc, show });
      chain.seccomp.end(this.#seccomp);
      chain.args.end(args.map((arg) => `${arg}\0`).join(''));
    } catch (error) {
      chain.child.kill('SIGKILL');
      throw error;
    }
    const innerPid = await chain.status.innerPid;
    if (innerPid === undefined) throw await chainError(chain);
    this.#openNextLauncher();
    const sandbox = adopt({ spec, chain, cgroup, innerPid, watchdog: this.#watchdog, warn: this.#warn });
    if (hands && chain.handed) return { ...sandbox, listener: chain.handed.take() };
    chain.handed?.close();
    return sandbox;
  }

  async #takeLauncher(): Promise<Launcher> {
    const next = this.#nextLauncher;
    this.#nextLauncher = undefined;
    const launcher = await next?.catch(() => undefined);
    return launcher && isAlive(launcher.child) ? launcher : openLauncher(this.#ground.directories.dataDir);
  }

  /** Now, while the sandbox just made is on its way up and the runner has nothing to do for it. */
  #openNextLauncher(): void {
    if (this.#stopped || this.#nextLauncher) return;
    this.#nextLauncher = openLauncher(this.#ground.directories.dataDir);
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
    this.#view = others ?? openMountView(this.#ground.directories.dataDir);
    return this.#view;
  }
}

function layGround({ dataDir, cgroups = true }: BubblewrapOptions): Ground {
  const directories = openSandboxDirectories(dataDir);
  return { directories, cgroups: cgroups ? openCgroups(hashOf(directories.dataDir)) : undefined };
}

function hashOf(dataDir: string): string {
  return createHash('sha256').update(dataDir).digest('hex').slice(0, 12);
}
