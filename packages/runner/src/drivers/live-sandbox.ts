import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Duplex, Readable } from 'node:stream';
import type {
  SandboxEndCause,
  SandboxExit,
  SandboxProcess,
  SandboxSpec,
  SandboxUsage,
  Warn,
} from '../driver.ts';
import { after } from './long-timer.ts';
import type { Watchdog, WatchSubject } from './watchdog.ts';

/**
 * The life of one started sandbox, the same for every driver: the first cause given is the cause it ends with; the end
 * is told only after nothing of it runs and its holders are released.
 */
export type LiveSandboxOptions = {
  spec: SandboxSpec;
  /** Host pid of the outermost process. */
  pid: number;
  /** How the outermost process ended. Never rejects. */
  ended: Promise<ProcessEnd>;
  channel: Duplex;
  output: Readable;
  watchdog: Watchdog;
  watched: Omit<WatchSubject, 'kill' | 'limits' | 'outOfMemory'>;
  hold: SandboxHold;
  warn: Warn;
};

export type ProcessEnd = { exitCode: number | null; signal: string | null };

/** Not by an event alone: the child may have ended while somebody was still waiting for something else. */
export async function endOf(child: ChildProcess): Promise<ProcessEnd> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return { exitCode: child.exitCode, signal: child.signalCode };
}

/** What a driver does to the processes of a sandbox. */
export type SandboxHold = {
  outOfMemory(): boolean;
  /** SIGKILL to all that can be found now. */
  kill(): void;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  usage(): Promise<SandboxUsage>;
  /** After the outermost process has ended: waits until nothing is left, and releases what was held. */
  release(): Promise<void>;
  /** When the command never ran: why. */
  setupFailure(): string | undefined;
};

export function liveSandbox(options: LiveSandboxOptions): SandboxProcess {
  const { spec, hold } = options;
  let cause: SandboxEndCause | undefined;
  let over = false;

  function kill(given: SandboxEndCause): void {
    if (over) return;
    cause ??= given;
    hold.kill();
  }

  const stopWatching = options.watchdog.watch({
    ...options.watched,
    limits: spec.limits,
    outOfMemory: hold.outOfMemory,
    kill,
  });
  const { wallTimeMs } = spec.limits;
  const stopClock = wallTimeMs > 0 ? after(wallTimeMs, () => kill('wall_time')) : () => undefined;

  async function end(): Promise<SandboxExit> {
    const ended = await options.ended;
    over = true;
    stopClock();
    stopWatching();
    if (hold.outOfMemory()) cause ??= 'oom';
    // Its end is told all the same: whoever waits for it can release nothing either.
    await hold
      .release()
      .catch((error: unknown) => options.warn(error, 'what a sandbox held was not all released'));
    return exitOf(spec, cause, ended, hold.setupFailure());
  }

  // A sandbox that dies with unread bytes in the channel resets it. `exited` tells of that; an unheard error
  // event would end the runner.
  options.channel.on('error', () => {});
  return {
    pid: options.pid,
    channel: options.channel,
    output: options.output,
    exited: end(),
    kill,
    freeze: () => hold.freeze(),
    thaw: () => hold.thaw(),
    usage: () => hold.usage(),
  };
}

function exitOf(
  { limits }: SandboxSpec,
  given: SandboxEndCause | undefined,
  { exitCode, signal }: ProcessEnd,
  setupFailure: string | undefined,
): SandboxExit {
  const own = setupFailure ? 'start_failed' : signal ? 'killed' : 'exited';
  const cause = given ?? own;
  const detail = cause === 'start_failed' && setupFailure ? setupFailure : sentence(cause, limits, exitCode);
  return { cause, detail, exitCode, signal };
}

function sentence(cause: SandboxEndCause, limits: SandboxSpec['limits'], exitCode: number | null): string {
  const sentences: Record<SandboxEndCause, string> = {
    exited: `The command ended by itself${exitCode === null ? '' : ` with exit code ${exitCode}`}.`,
    start_failed: 'The sandbox could not be set up.',
    oom: `The sandbox used more than its ${mebibytes(limits.memoryBytes)} of memory.`,
    disk_full: `The sandbox used more than its ${mebibytes(limits.diskBytes)} of disk.`,
    too_many_processes: `The sandbox ran more than its ${limits.processes} processes and threads.`,
    wall_time: `The sandbox ran for its whole ${limits.wallTimeMs} ms.`,
    ended: 'The sandbox was no longer needed.',
    evicted: 'The sandbox made room for another one.',
    protocol_violation: 'The bridge broke the protocol.',
    server_stopped: 'The server stopped.',
    interrupt_ignored: 'The agent did not stop when it was interrupted, so its sandbox was ended.',
    killed: 'Somebody outside of Atoll killed the sandbox.',
  };
  return sentences[cause];
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1048576)} MiB`;
}
