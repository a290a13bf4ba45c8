import type { Duplex, Readable } from 'node:stream';

/**
 * How sandboxes are made. A driver owns isolation, limits, host uids and the killing of what it started; it
 * knows nothing of sessions, bridges or JSON-RPC. Implementations live in `drivers/`, one contract suite
 * (`driver.contract.ts`) runs over every one.
 */
export type Driver = {
  readonly name: string;

  /** What keeps this driver from running here, each with the command that mends it. Empty: it can run. */
  check(): Promise<DriverProblem[]>;

  /**
   * Makes `directory` (absolute, inside the runner's 0700 data directory) ready to hold a sandbox: creates
   * `workspace/` and `home/` in it where they are missing, owned by the uid the sandbox will run as.
   * Idempotent; what is in there stays. The returned owner is what host-side writers give new files.
   */
  prepare(directory: string): Promise<SandboxOwner>;

  /** Starts `command` inside. Resolves once the process is spawned, rejects with AtollError `sandbox_failed`. */
  start(spec: SandboxSpec): Promise<SandboxProcess>;

  /** Removes a directory made by `prepare` with all that is in it, whatever its modes; nothing if it is gone. */
  remove(directory: string): Promise<void>;

  /** At runner start: ends and removes what an earlier incarnation on this data directory left behind. */
  sweep(): Promise<void>;

  /** Kills every sandbox of this driver and releases what it holds (cgroups, helpers). */
  stop(): Promise<void>;
};

export type DriverProblem = { problem: string; mend: string };

/** What a driver could not do and nobody waits for. */
export type Warn = (error: unknown, what: string) => void;

/** Host uid and gid that own a sandbox's files; undefined when the runner's own user does. */
export type SandboxOwner = { uid: number; gid: number } | undefined;

export type SandboxSpec = {
  /** `sbx_…`; unique among live sandboxes. */
  id: string;
  /** A directory that `prepare` has seen. */
  directory: string;
  /** Program and arguments, as seen inside. */
  command: readonly string[];
  /** The whole environment inside, besides PATH, HOME, USER, TMPDIR, LANG which the driver sets. */
  env: Readonly<Record<string, string>>;
  /** Host paths shown read-only inside, e.g. the bridge and the SDK. Process driver: see its header. */
  readOnly: readonly Mount[];
  /** Host Unix sockets shown inside (the gateway's). */
  sockets: readonly Mount[];
  /** The command would hand a listener on its own loopback over, if it is started with a channel of Node's IPC to do so. */
  handsListener?: boolean;
  limits: SandboxLimits;
  /** The file system around all that, for the drivers that have images; theirs when none is named. */
  image?: string;
};

export type Mount = { source: string; target: string };

export type SandboxLimits = {
  memoryBytes: number;
  /** Processes and threads. */
  processes: number;
  /** Cores, e.g. 1.5; 0 means no limit. */
  cpu: number;
  openFiles: number;
  /** Workspace, home and temporary files together. */
  diskBytes: number;
  /** From start; 0 means no limit. */
  wallTimeMs: number;
};

export type SandboxProcess = {
  /** Host pid of the outermost process, for logs and tests. */
  readonly pid: number;
  /** fd 3 inside, or the Unix socket that ATOLL_RUNNER_SOCKET names there, for the first that connects to it. */
  readonly channel: Duplex;
  /** stdout and stderr of the command together. Must be read. */
  readonly output: Readable;
  /** Settles once, when nothing of the sandbox runs any more and its limits' holders are released. */
  readonly exited: Promise<SandboxExit>;
  /** SIGKILL to the whole tree; `exited` then carries this cause unless another came first. Idempotent. */
  kill(cause: SandboxEndCause): void;
  /** Stops every process inside. Rejects when that takes too long, and then some of them stand still: thaw it. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  usage(): Promise<SandboxUsage>;
  /** Of a sandbox with the host's paths: the one that stands for a path of the inside. Another text comes back as it is. */
  realPath?(path: string): string;
  /**
   * The listener that was handed over, for `net.Server.listen`; not there where the driver took none, and the command was
   * started without a channel. Rejects when something else came, or nothing.
   */
  readonly listener?: Promise<object>;
};

export type SandboxUsage = { memoryBytes: number; processes: number };

/** Why a sandbox ended: a code and a human sentence (I10). */
export type SandboxExit = {
  cause: SandboxEndCause;
  detail: string;
  exitCode: number | null;
  signal: string | null;
};

export type SandboxEndCause =
  /** The command ended by itself. */
  | 'exited'
  /** The command never ran: a path to show inside is missing, a namespace is refused, … */
  | 'start_failed'
  /** Over `memoryBytes`. */
  | 'oom'
  /** Over `diskBytes`. */
  | 'disk_full'
  /** Over `processes`, where only the watchdog could see it. */
  | 'too_many_processes'
  | 'wall_time'
  /** Asked for by the runner. */
  | 'ended'
  | 'evicted'
  | 'protocol_violation'
  | 'server_stopped'
  /** A turn went on long after it was to stop. */
  | 'interrupt_ignored'
  /** Killed by somebody else. */
  | 'killed';
