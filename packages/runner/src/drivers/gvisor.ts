import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import type { Driver, DriverProblem, SandboxOwner, SandboxProcess, SandboxSpec, Warn } from '../driver.ts';
import { writeEtc } from './bubblewrap-args.ts';
import { type Cgroups, openCgroups, type SandboxCgroup } from './cgroup.ts';
import { sweepRecordedCgroups } from './cgroup-record.ts';
import { openChannelSocket } from './channel-socket.ts';
import { writeBundle } from './gvisor-bundle.ts';
import { checkGvisor } from './gvisor-check.ts';
import { endProcessesOf, holdGvisor } from './gvisor-hold.ts';
import { endOf, liveSandbox } from './live-sandbox.ts';
import { quote } from './mount-view.ts';
import { openSandboxDirectories, type SandboxDirectories } from './sandbox-directories.ts';
import { createSandboxSet } from './sandbox-set.ts';
import { createWatchdog, type Watchdog } from './watchdog.ts';

/**
 * Sandboxes with a kernel of their own: gVisor (`runsc`), which answers the system calls of what runs inside, so that
 * nothing of it reaches the host's. What a sandbox sees is what bubblewrap shows, as an OCI bundle (gvisor-bundle.ts).
 * One start is a chain by exec, so the pid stays: `sh` joins the control group → `setpriv` has it die with the runner →
 * `runsc run`, whose own processes die with it. The command connects to its channel, a Unix socket (channel-socket.ts).
 *
 * Limits. Memory and CPU by control group, in which gVisor's own kernel counts as the sandbox's; processes, open files
 * and the size of one file by gVisor; disk by the watchdog, temporary files by the size of their mount. What a sandbox
 * has in memory cannot be seen from outside but by its control group, so without one there is no such sandbox.
 */
export type GvisorOptions = {
  /** The runner's data directory, made 0700. Sandboxes' directories are `<dataDir>/<kind>/<name>`. */
  dataDir: string;
  /** How runsc catches system calls (`systrap`, `ptrace`, `kvm`); its own choice when left out. */
  platform?: string | undefined;
  warn?: Warn;
  watchdogIntervalMs?: number;
};

export function createGvisorDriver(options: GvisorOptions): Driver {
  return new GvisorDriver(options);
}

/** gVisor counts what runs inside. What the control group counts is its own: a few threads for each of those. */
const ownThreads = (processes: number) => 1024 + 4 * processes;

/** What is made on the host at first use; asking a driver whether it could run leaves no trace. */
type Ground = {
  directories: SandboxDirectories;
  cgroups: Cgroups;
  /** What each sandbox is shown of its own, by its id. */
  runDirectory: string;
  /** Every call of runsc begins with these. */
  runsc: readonly string[];
};

class GvisorDriver implements Driver {
  readonly name = 'gvisor';
  readonly #options: GvisorOptions;
  readonly #warn: Warn;
  readonly #watchdog: Watchdog;
  readonly #sandboxes = createSandboxSet();
  #laid: Ground | undefined;
  #etc: string | undefined;

  constructor(options: GvisorOptions) {
    this.#options = options;
    const { warn = () => {}, watchdogIntervalMs } = options;
    this.#warn = warn;
    this.#watchdog = createWatchdog({ warn, ...(watchdogIntervalMs && { intervalMs: watchdogIntervalMs }) });
  }

  check(): Promise<DriverProblem[]> {
    return checkGvisor(this.#options.platform);
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
    const { directories, cgroups, runDirectory } = this.#ground;
    await sweepRecordedCgroups(directories.dataDir, cgroups);
    await endProcessesOf(runDirectory);
    await rm(runDirectory, { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    await this.#sandboxes.stop();
    this.#laid?.cgroups.release();
    this.#laid = undefined;
  }

  async #startNow(spec: SandboxSpec): Promise<SandboxProcess> {
    const { cgroups, runDirectory } = this.#ground;
    const cgroup = cgroups.create(spec.id, spec.limits, ownThreads(spec.limits.processes));
    const ownDirectory = join(runDirectory, spec.id);
    const release = async () => {
      await cgroup.remove();
      await rm(ownDirectory, { recursive: true, force: true });
    };
    try {
      return await this.#launch(spec, { cgroup, ownDirectory, release });
    } catch (error) {
      await release();
      throw error;
    }
  }

  async #launch(
    spec: SandboxSpec,
    held: { cgroup: SandboxCgroup; ownDirectory: string; release(): Promise<void> },
  ): Promise<SandboxProcess> {
    const { directories, runsc } = this.#ground;
    const { cgroup, ownDirectory } = held;
    const owner = directories.ownerOf(spec.directory);
    await mkdir(ownDirectory, { recursive: true });
    this.#etc ??= writeEtc(directories.dataDir);
    const socket = await openChannelSocket(ownDirectory, owner);
    try {
      writeBundle({ spec, owner, ownDirectory, etc: this.#etc });
      const child = spawn('/bin/sh', ['-c', startScript(spec, { cgroup, ownDirectory, runsc })], {
        cwd: '/',
        env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
        stdio: ['ignore', 'pipe', 'ignore'],
        // Ctrl-C in the runner's terminal is the runner's to answer.
        detached: true,
      });
      await once(child, 'spawn');
      return liveSandbox({
        spec,
        ended: endOf(child),
        channel: socket.channel,
        // Node drains an unread stdout when the child ends; what was said last must outlive that.
        output: child.stdout.pipe(new PassThrough()),
        watchdog: this.#watchdog,
        warn: this.#warn,
        ...holdGvisor({ ...held, spec, child, runsc, socket }),
      });
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  get #ground(): Ground {
    this.#laid ??= layGround(this.#options);
    return this.#laid;
  }
}

function layGround({ dataDir: given, platform }: GvisorOptions): Ground {
  const directories = openSandboxDirectories(given);
  const { dataDir } = directories;
  const runDirectory = join(dataDir, 'system', 'run');
  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 12);
  return {
    directories,
    cgroups: openCgroups(name),
    runDirectory,
    runsc: [
      'runsc',
      ...(platform === undefined ? [] : [`--platform=${platform}`]),
      `--root=${join(runDirectory, 'state')}`,
      // Sockets that are shown inside can be connected to, and no others made on the host.
      ...['--network=none', '--host-uds=open'],
      // What is written inside is on the host at once, and the other way round.
      ...['--file-access-mounts=shared', '--overlay2=none'],
      // The chain has joined its own group.
      '--ignore-cgroups',
    ],
  };
}

function startScript(
  { id }: SandboxSpec,
  { cgroup, ownDirectory, runsc }: { cgroup: SandboxCgroup; ownDirectory: string; runsc: readonly string[] },
): string {
  const run = [...runsc, 'run', '--bundle', ownDirectory, id];
  return [
    'exec 2>&1',
    cgroup.joinScript,
    'ulimit -c 0',
    `exec setpriv --pdeathsig KILL ${run.map(quote).join(' ')}`,
  ].join('\n');
}
