import { type ChildProcess, execFile } from 'node:child_process';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { AtollError } from '@atoll/protocol/errors';
import * as v from 'valibot';
import type { SandboxSpec } from '../driver.ts';
import type { SandboxCgroup } from './cgroup.ts';
import type { ChannelSocket } from './channel-socket.ts';
import type { LiveSandboxOptions } from './live-sandbox.ts';
import { STANDSTILL_MS } from './process-tree.ts';
import { argumentsOf, listProcesses, signalProcess } from './processes.ts';

export type HoldOptions = {
  spec: SandboxSpec;
  /** `runsc run`, whose children are the sandbox's kernel and what opens its files. */
  child: ChildProcess;
  cgroup: SandboxCgroup;
  runsc: readonly string[];
  socket: ChannelSocket;
  /** Its bundle. */
  ownDirectory: string;
  release(): Promise<void>;
};

/** Takes a started gVisor sandbox into care: its killing and freezing, what it uses, what is left of it. */
export function holdGvisor(options: HoldOptions): Pick<LiveSandboxOptions, 'pid' | 'hold' | 'watched'> {
  const { spec, child, cgroup, socket } = options;
  const pid = child.pid ?? 0;
  const call = (command: string, ...args: string[]) => callRunsc(options.runsc, command, ...args, spec.id);
  return {
    pid,
    hold: {
      outOfMemory: () => cgroup.outOfMemory(),
      kill: () => {
        cgroup.kill();
        child.kill('SIGKILL');
      },
      freeze: async () => void (await call('pause')),
      thaw: async () => void (await call('resume')),
      usage: async () => ({
        memoryBytes: cgroup.usage().memoryBytes ?? 0,
        // Not up yet, it has none.
        processes: await call('events', '--stats').then(processesIn, () => 0),
      }),
      release: async () => {
        socket.close();
        await endProcessesOf(options.ownDirectory);
        await options.release();
      },
      setupFailure: () => undefined,
    },
    watched: {
      disk: {
        directories: [join(spec.directory, 'workspace'), join(spec.directory, 'home')],
        // In the memory of gVisor's kernel, within the size of their mount.
        temporaryBytes: () => 0,
        pids: async () => cgroup.pids() ?? [],
      },
      members: undefined,
      holdsMemory: false,
      holdsProcesses: false,
    },
  };
}

/**
 * What makes up a sandbox dies with `runsc run`, but is not its child any more by then. Every process of runsc names the
 * bundle, or the folder of all of them, in its arguments; what it keeps to run the sandbox's code dies with those.
 */
export async function endProcessesOf(directory: string): Promise<void> {
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 50)) {
    const left = (await listProcesses()).filter(({ pid }) => isOfRunsc(argumentsOf(pid), directory));
    if (left.length === 0) return;
    for (const { pid } of left) signalProcess(pid, 'SIGKILL');
    await delay(waitMs);
  }
}

function isOfRunsc([program = '', ...words]: readonly string[], directory: string): boolean {
  if (!/^runsc(-|$)/.test(basename(program))) return false;
  const paths = words.map((word) => word.replace(/^--\w+=/, ''));
  return paths.some((path) => path === directory || path.startsWith(`${directory}/`));
}

const reported = v.object({ data: v.object({ pids: v.object({ current: v.number() }) }) });

function processesIn(stats: string): number {
  return v.parse(reported, JSON.parse(stats)).data.pids.current;
}

async function callRunsc(
  [program = '', ...flags]: readonly string[],
  ...args: readonly string[]
): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(program, [...flags, ...args], { timeout: STANDSTILL_MS });
    return stdout;
  } catch (cause) {
    throw new AtollError('sandbox_failed', `runsc ${args[0]} failed: ${String(cause)}`, { cause });
  }
}
