import { setTimeout as delay } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { SandboxUsage } from '../driver.ts';
import { isErrno, listProcesses, type ProcessEntry, signalProcess } from './processes.ts';
import { memoryOf } from './watchdog.ts';

/** A turn may be waiting for it. */
export const STANDSTILL_MS = 5_000;
/** Dead, stopped, or stopped by a debugger, which stands still itself. */
const STILL = new Set(['Z', 'X', 'T', 't']);

/** A grip on all processes of a sandbox by looking through the process table, where no control group gives one. */
export type ProcessTree = {
  /** The tree's processes in a listing, parents before their children. */
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

/**
 * Stops every process of a tree. Rejects when some of them cannot be stopped in time; others stand still then, so it is
 * for the caller to thaw them.
 */
export async function freezeTree(tree: ProcessTree, withinMs = STANDSTILL_MS): Promise<void> {
  const end = performance.now() + withinMs;
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 50)) {
    const members = tree.select(await listProcesses());
    const moving = members.filter(({ state }) => !STILL.has(state));
    if (moving.length === 0) return;
    if (performance.now() > end) throw neverStill(withinMs);
    // A process that forks by vfork(2) cannot be stopped until its child has become another program: the child may go on.
    const held = new Set(moving.filter(({ state }) => state === 'D').map(({ pid }) => pid));
    for (const { pid, parent, state } of members) {
      if (!held.has(parent)) tell(pid, 'SIGSTOP');
      else if (state === 'T') tell(pid, 'SIGCONT');
    }
    await delay(waitMs);
  }
}

/**
 * One signal to each is enough: it also takes back a stop that a process has still before it. Children first: a shell
 * with job control that finds its command stopped puts it into the background.
 */
export async function thawTree(tree: ProcessTree): Promise<void> {
  for (const { pid } of tree.select(await listProcesses()).toReversed()) tell(pid, 'SIGCONT');
}

export function neverStill(withinMs: number): AtollError {
  return new AtollError('sandbox_failed', `Its processes could not be stopped within ${withinMs} ms.`);
}

/** One that took another user is out of reach, and must not keep the others from hearing it. */
function tell(pid: number, signal: NodeJS.Signals): void {
  try {
    signalProcess(pid, signal);
  } catch (error) {
    if (!isErrno(error, 'EPERM')) throw error;
  }
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
