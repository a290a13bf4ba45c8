import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { SandboxProcess, SandboxSpec, Warn } from '../driver.ts';
import { insidePaths } from './bubblewrap-args.ts';
import type { StartChain } from './bubblewrap-start.ts';
import type { SandboxCgroup } from './cgroup.ts';
import { temporaryBytes } from './disk-usage.ts';
import { endOf, liveSandbox, type SandboxHold } from './live-sandbox.ts';
import { freezeTree, type ProcessTree, thawTree, treePids, treeUsage } from './process-tree.ts';
import { descendants, readProcess, signalProcess } from './processes.ts';
import type { Watchdog } from './watchdog.ts';

export type AdoptOptions = {
  spec: SandboxSpec;
  chain: StartChain;
  cgroup: SandboxCgroup | undefined;
  /** Host pid of the sandbox's pid 1. */
  innerPid: number;
  watchdog: Watchdog;
  warn: Warn;
};

/** Takes a started bubblewrap sandbox into care: its limits, its killing and freezing, its end. */
export function adopt({ spec, chain, cgroup, innerPid, watchdog, warn }: AdoptOptions): SandboxProcess {
  const tree: ProcessTree = { select: (processes) => descendants(processes, innerPid) };
  const holdsMemory = cgroup?.means.memory === undefined;
  const holdsProcesses = cgroup?.means.pids === undefined;
  const mounts = [insidePaths.temporary, insidePaths.sharedMemory];
  return liveSandbox({
    spec,
    pid: chain.child.pid ?? 0,
    ended: endOf(chain.child),
    channel: chain.channel,
    output: chain.output,
    watchdog,
    warn,
    hold: holdOf(chain, cgroup, innerPid, tree),
    watched: {
      disk: {
        directories: [join(spec.directory, 'workspace'), join(spec.directory, 'home')],
        temporaryBytes: () => temporaryBytes(innerPid, mounts),
        pids: async () => cgroup?.pids() ?? treePids(tree),
        // Root inside a user namespace may read what its own uid has closed to itself.
        prefix: process.getuid?.() === 0 ? [] : ['unshare', '--map-root-user'],
      },
      members: holdsMemory || holdsProcesses ? tree.select : undefined,
      holdsMemory,
      holdsProcesses,
    },
  });
}

function holdOf(
  { child, status }: StartChain,
  cgroup: SandboxCgroup | undefined,
  innerPid: number,
  tree: ProcessTree,
): SandboxHold {
  const startTime = readProcess(innerPid)?.startTime;
  // A zombie has ended; when it is reaped is up to the host's init, which may take seconds.
  const innerLives = (): boolean => {
    const inner = readProcess(innerPid);
    return inner !== undefined && inner.startTime === startTime && inner.state !== 'Z';
  };
  let ran = true;
  return {
    outOfMemory: () => cgroup?.outOfMemory() ?? false,
    kill: () => {
      cgroup?.kill();
      child.kill('SIGKILL');
      if (innerLives()) signalProcess(innerPid, 'SIGKILL');
    },
    freeze: () => cgroup?.freeze?.(true) ?? freezeTree(tree),
    thaw: () => cgroup?.freeze?.(false) ?? thawTree(tree),
    usage: async () => {
      const { memoryBytes, processes } = cgroup?.usage() ?? {};
      if (memoryBytes !== undefined && processes !== undefined) return { memoryBytes, processes };
      const seen = await treeUsage(tree);
      return { memoryBytes: memoryBytes ?? seen.memoryBytes, processes: processes ?? seen.processes };
    },
    release: async () => {
      // Its own pid 1 is the last of a pid namespace to go. It dies with bwrap outside, unless that was killed
      // before pid 1 had asked the kernel for it.
      for (let waitMs = 1; innerLives(); waitMs = Math.min(waitMs * 2, 50)) {
        signalProcess(innerPid, 'SIGKILL');
        await delay(waitMs);
      }
      ran = await status.ran;
      await cgroup?.remove();
    },
    setupFailure: () =>
      ran || child.signalCode
        ? undefined
        : 'The sandbox could not be set up; the last of its output says why.',
  };
}
