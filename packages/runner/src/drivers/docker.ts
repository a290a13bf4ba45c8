import { createHash } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import type { Driver, DriverProblem, SandboxOwner, SandboxProcess, SandboxSpec, Warn } from '../driver.ts';
import { openChannelSocket } from './channel-socket.ts';
import { checkDocker, socketOf } from './docker-check.ts';
import { type ContainerPlan, containerOptions } from './docker-container.ts';
import { type EndOptions, endOf, removeContainer } from './docker-end.ts';
import { type Engine, openEngine } from './docker-engine.ts';
import { holdContainer } from './docker-hold.ts';
import { createImages } from './docker-image.ts';
import { createFrameReader } from './docker-output.ts';
import { liveSandbox, type ProcessEnd } from './live-sandbox.ts';
import { portableNode } from './portable-node.ts';
import { openSandboxDirectories, type SandboxDirectories } from './sandbox-directories.ts';
import { createSandboxSet } from './sandbox-set.ts';
import { createWatchdog, type Watchdog } from './watchdog.ts';

/**
 * Sandboxes as containers of a Docker engine on this machine, from any image (docker-container.ts says what one is made
 * of). A start: find the image, pulled if need be → create → attach to its output → start. Node comes from this machine
 * (portable-node.ts), and the command connects to its channel, a Unix socket (channel-socket.ts).
 *
 * Limits. Memory, processes and CPU by the engine's control groups, open files and the size of one file by rlimit,
 * temporary files by the size of their mount, disk by the watchdog.
 *
 * The end. The engine removes a container that has ended, and only then do we call it ended. What a killed runner leaves
 * running carries a label by which `sweep` finds it.
 */
export type DockerOptions = {
  /** The runner's data directory, made 0700. Sandboxes' directories are `<dataDir>/<kind>/<name>`. */
  dataDir: string;
  /** `unix://` and the path of the engine's socket: what it mounts is on this machine. */
  engine: string;
  /** For sandboxes that name none. */
  image: string;
  warn?: Warn;
  watchdogIntervalMs?: number;
};

export function createDockerDriver(options: DockerOptions): Driver {
  return new DockerDriver(options);
}

const RUNNER_LABEL = 'io.atoll.runner';
const SANDBOX_LABEL = 'io.atoll.sandbox';

/** What is made at first use; asking a driver whether it could run leaves no trace. */
type Ground = { directories: SandboxDirectories; id: string };

class DockerDriver implements Driver {
  readonly name = 'docker';
  readonly #options: DockerOptions;
  readonly #warn: Warn;
  readonly #watchdog: Watchdog;
  readonly #sandboxes = createSandboxSet();
  readonly #stopping = new AbortController();
  #refusedOpenFiles = Number.POSITIVE_INFINITY;
  #laid: Ground | undefined;
  #images: ReturnType<typeof createImages> | undefined;
  #engine: Promise<Engine> | undefined;
  #node: Promise<string> | undefined;

  constructor(options: DockerOptions) {
    this.#options = options;
    const { warn = () => {}, watchdogIntervalMs } = options;
    this.#warn = warn;
    this.#watchdog = createWatchdog({ warn, ...(watchdogIntervalMs && { intervalMs: watchdogIntervalMs }) });
  }

  check(): Promise<DriverProblem[]> {
    return checkDocker(this.#options.engine);
  }

  async prepare(directory: string): Promise<SandboxOwner> {
    return this.#ground.directories.prepare(directory);
  }

  async start(spec: SandboxSpec): Promise<SandboxProcess> {
    return this.#sandboxes.start(() =>
      this.#launch({ ...spec, directory: this.#ground.directories.ours(spec.directory) }),
    );
  }

  async remove(directory: string): Promise<void> {
    await this.#ground.directories.remove(directory);
  }

  async sweep(): Promise<void> {
    await rm(this.#runDirectory, { recursive: true, force: true });
    const { docker } = await this.#openEngine();
    const filters = { label: [this.#label] };
    const left = await docker.listContainers({ all: true, filters });
    await Promise.all(left.map(({ Id }) => removeContainer(docker.getContainer(Id))));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#sandboxes.stop();
    const engine = await this.#engine?.catch(() => undefined);
    this.#engine = undefined;
    engine?.close();
    await this.#node?.catch(() => undefined);
  }

  async #launch(spec: SandboxSpec): Promise<SandboxProcess> {
    const engine = await this.#openEngine();
    const { directories, id } = this.#ground;
    const [image, node] = await Promise.all([
      this.#imagesOf(id).find(engine.docker, spec.image ?? this.#options.image),
      this.#portableNode(),
    ]);
    const owner = directories.ownerOf(spec.directory);
    const ownDirectory = join(this.#runDirectory, spec.id);
    await mkdir(ownDirectory, { recursive: true });
    const socket = await openChannelSocket(ownDirectory, owner);
    const release = async () => {
      socket.close();
      await rm(ownDirectory, { recursive: true, force: true });
    };
    const plan = {
      spec,
      image,
      owner,
      node,
      ownDirectory,
      name: `atoll-${id}-${spec.id}`,
      labels: { [RUNNER_LABEL]: id, [SANDBOX_LABEL]: spec.id },
    };
    try {
      const { container, ended, output } = await this.#run(engine, plan);
      const held = await holdContainer({ spec, container, engine, release, warn: this.#warn }).catch(
        async (error: unknown) => {
          await removeContainer(container).catch((failure) => this.#warn(failure, 'a container may run on'));
          throw error;
        },
      );
      return liveSandbox({
        spec,
        ended,
        output,
        channel: socket.channel,
        watchdog: this.#watchdog,
        warn: this.#warn,
        ...held,
      });
    } catch (error) {
      await release();
      throw error;
    }
  }

  /**
   * An engine that may not raise its own limit of open files gives no more than that to anybody. What it refused once is
   * not asked for again: its own, lower one then holds.
   */
  async #run({ docker, gone }: Engine, plan: Omit<ContainerPlan, 'openFiles'>): Promise<Running> {
    const { openFiles } = plan.spec.limits;
    const run = (limit: number | undefined) =>
      startContainer(docker, containerOptions({ ...plan, openFiles: limit }), {
        warn: this.#warn,
        gone,
        stopping: this.#stopping.signal,
      });
    if (openFiles >= this.#refusedOpenFiles) return run(undefined);
    try {
      return await run(openFiles);
    } catch (error) {
      if (!String(error).includes(OPEN_FILES_REFUSED)) throw error;
      this.#refusedOpenFiles = openFiles;
      return run(undefined);
    }
  }

  /** What each sandbox is shown of its own, by its id. */
  get #runDirectory(): string {
    return join(this.#ground.directories.dataDir, 'system', 'run');
  }

  get #ground(): Ground {
    if (this.#laid) return this.#laid;
    const directories = openSandboxDirectories(this.#options.dataDir);
    const id = createHash('sha256').update(directories.dataDir).digest('hex').slice(0, 12);
    this.#laid = { directories, id };
    return this.#laid;
  }

  get #label(): string {
    return `${RUNNER_LABEL}=${this.#ground.id}`;
  }

  #imagesOf(id: string): ReturnType<typeof createImages> {
    this.#images ??= createImages({ [RUNNER_LABEL]: id });
    return this.#images;
  }

  #portableNode(): Promise<string> {
    this.#node ??= portableNode(join(this.#ground.directories.dataDir, 'system')).catch((error: unknown) => {
      // Whoever comes next tries again.
      this.#node = undefined;
      throw error;
    });
    return this.#node;
  }

  async #openEngine(): Promise<Engine> {
    const known = this.#engine;
    const open = await known?.catch(() => undefined);
    if (open && !open.gone.aborted) return open;
    // Another start may have opened one meanwhile.
    const others = this.#engine === known ? undefined : this.#engine;
    this.#engine =
      others ??
      openEngine({
        socketPath: socketOf(this.#options.engine),
        label: this.#label,
        warn: this.#warn,
      });
    return this.#engine;
  }
}

/** What runc says of RLIMIT_NOFILE. */
const OPEN_FILES_REFUSED = 'error setting rlimit type 7';

type Running = { container: Docker.Container; ended: Promise<ProcessEnd>; output: Readable };

/** Nothing is left of it when that fails. */
async function startContainer(
  docker: Docker,
  options: Docker.ContainerCreateOptions,
  ending: EndOptions,
): Promise<Running> {
  const container = await docker.createContainer(options);
  try {
    const attached = await container.attach({ stream: true, stdout: true, stderr: true });
    // Asked for beforehand: it may be gone again when the start is answered.
    const ended = endOf(container, ending);
    await container.start();
    return { container, ended, output: attached.pipe(createFrameReader()) };
  } catch (error) {
    await removeContainer(container);
    throw error;
  }
}
