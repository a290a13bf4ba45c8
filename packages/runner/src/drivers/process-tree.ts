import { setTimeout as delay } from 'node:timers/promises';
import type { SandboxUsage } from '../driver.ts';
import { listProcesses, type ProcessEntry, signalProcess } from './processes.ts';
import { memoryOf } from './watchdog.ts';

/** A grip on all processes of a sandbox by looking through the process table, where no control group gives one. */
export type ProcessTree = {
  /** The tree's processes in a listing. */
  select(processes: readonly ProcessEntry[]): ProcessEntry[];
};

/** Signals every process of a tree until a look finds none that `done` does not hold for. */
export async function signalTree(
  tree: ProcessTree,
  signal: NodeJS.Signals,
  done: (entry: ProcessEntry) => boolean,
): Promise<void> {
  // A fork between the look and the signal is found by the next look; a stopped or dead process forks no more.
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 50)) {
    const left = tree.select(await listProcesses()).filter((entry) => entry.state !== 'Z' && !done(entry));
    if (left.length === 0) return;
    for (const entry of left) signalProcess(entry.pid, signal);
    await delay(waitMs);
  }
}

export function freezeTree(tree: ProcessTree): Promise<void> {
  // `t`: stopped by a debugger, which stands still itself.
  return signalTree(tree, 'SIGSTOP', (entry) => entry.state === 'T' || entry.state === 't');
}

export function thawTree(tree: ProcessTree): Promise<void> {
  return signalTree(tree, 'SIGCONT', (entry) => entry.state !== 'T');
}

export async function treeUsage(tree: ProcessTree): Promise<SandboxUsage> {
  const members = tree.select(await listProcesses());
  return {
    memoryBytes: memoryOf(members, 0),
    processes: members.reduce((sum, entry) => sum + entry.threads, 0),
  };
}

export async function treePids(tree: ProcessTree): Promise<number[]> {
  return tree.select(await listProcesses()).map((entry) => entry.pid);
}
