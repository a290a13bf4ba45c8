import { join } from 'node:path';
import type Docker from 'dockerode';
import * as v from 'valibot';
import type { SandboxSpec, SandboxUsage, Warn } from '../driver.ts';
import { insidePaths } from './bubblewrap-args.ts';
import { temporaryBytes } from './disk-usage.ts';
import { overheadProcesses } from './docker-container.ts';
import { type Engine, isRefusal } from './docker-engine.ts';
import type { LiveSandboxOptions } from './live-sandbox.ts';
import { freezeTree, type ProcessTree, thawTree, treePids } from './process-tree.ts';
import { descendants } from './processes.ts';
import { guardStandstill } from './standstill-guard.ts';

export type HoldOptions = {
  spec: SandboxSpec;
  container: Docker.Container;
  engine: Engine;
  /** Releases what the sandbox was shown. */
  release(): Promise<void>;
  warn: Warn;
};

/** Takes a started container into care: its killing and freezing, what it uses, what is left of it. */
export async function holdContainer(
  options: HoldOptions,
): Promise<Pick<LiveSandboxOptions, 'pid' | 'hold' | 'watched'>> {
  const { spec, container, engine, warn } = options;
  const pid = await pidOf(container);
  const mounts = [insidePaths.temporary, insidePaths.sharedMemory];
  const tree: ProcessTree = {
    select: (processes) => (pid > 0 ? descendants(processes, pid) : []),
  };
  let guard: Disposable | undefined;
  return {
    pid,
    hold: {
      outOfMemory: () => engine.outOfMemory(container.id),
      kill: () =>
        void container.kill().catch((error: unknown) => {
          // Not running any more.
          if (!isRefusal(error, 404, 409)) warn(error, 'a container could not be killed');
        }),
      // Not by the engine's own pause: it loses track of one that is soon taken back, and takes ten times as long.
      async freeze() {
        // Its first process takes all others of the container along.
        if (pid > 0) guard ??= await guardStandstill(pid, 'KILL');
        await freezeTree(tree);
      },
      async thaw() {
        guard?.[Symbol.dispose]();
        guard = undefined;
        await thawTree(tree);
      },
      usage: () => usageOf(container),
      release: async () => {
        guard?.[Symbol.dispose]();
        engine.forget(container.id);
        await options.release();
      },
      setupFailure: () => undefined,
    },
    watched: {
      disk: {
        directories: [join(spec.directory, 'workspace'), join(spec.directory, 'home')],
        temporaryBytes: () => (pid > 0 ? temporaryBytes(pid, mounts) : 0),
        pids: () => treePids(tree),
      },
      members: undefined,
      holdsMemory: false,
      holdsProcesses: false,
    },
  };
}

/** On the host; 0 when it has ended already. */
async function pidOf(container: Docker.Container): Promise<number> {
  try {
    return (await container.inspect()).State.Pid;
  } catch (error) {
    if (isRefusal(error, 404)) return 0;
    throw error;
  }
}

const reported = v.object({
  memory_stats: v.object({
    usage: v.optional(v.number(), 0),
    stats: v.optional(v.record(v.string(), v.number()), {}),
  }),
  pids_stats: v.object({ current: v.optional(v.number(), 0) }),
});

/** As `docker stats` counts: file pages the kernel would give back at once are not the sandbox's. */
async function usageOf(container: Docker.Container): Promise<SandboxUsage> {
  const stats: unknown = await container.stats({ stream: false, 'one-shot': true });
  const { memory_stats: memory, pids_stats: pids } = v.parse(reported, stats);
  const inactive = memory.stats.total_inactive_file ?? memory.stats.inactive_file ?? 0;
  return {
    memoryBytes: Math.max(0, memory.usage - inactive),
    processes: Math.max(0, pids.current - overheadProcesses),
  };
}
