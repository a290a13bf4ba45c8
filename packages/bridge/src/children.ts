/**
 * Every process the bridge starts, so that none outlives it. Each is started as leader of its own group; on Linux
 * their descendants are found too, wherever those moved (an agent's tools make groups of their own). Inside a
 * sandbox the pid namespace ends them anyway; the `process` driver has nothing but this.
 */
import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setPriority } from 'node:os';

export type Children = {
  /** Remembers a child started with `detached: true`, until it ended. */
  add(child: ChildProcess): void;
  /** Kills the child, its group and its descendants. */
  kill(child: ChildProcess): void;
  /** Kills all of them, synchronously: it runs while the process exits. */
  killAll(): void;
};

/** What they say has to get through, however busy they are: the bridge comes first. Their own children inherit it. */
const NICE = 5;

export function createChildren(): Children {
  const live = new Set<ChildProcess>();
  /** Groups that had members when their leader ended: what a command left in the background. */
  const orphaned = new Set<number>();
  return {
    add(child) {
      live.add(child);
      giveWay(child);
      child.once('exit', () => {
        live.delete(child);
        if (child.pid !== undefined) orphaned.add(child.pid);
        // The number of an empty group may come to be somebody else's.
        for (const group of orphaned) if (!hasMembers(group)) orphaned.delete(group);
      });
      // A child that could not be started has no exit.
      child.once('error', () => child.pid === undefined && live.delete(child));
    },
    kill: killTree,
    killAll() {
      for (const child of live) killTree(child);
      for (const group of orphaned) signalQuietly(-group, 'SIGKILL');
    },
  };
}

function giveWay({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) setPriority(pid, NICE);
  } catch {
    // Where the system does not allow it, they are equals.
  }
}

/** Signals a child's whole group; nothing happens when it is gone. */
export function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid !== undefined) signalQuietly(-child.pid, signal);
}

function killTree(child: ChildProcess): void {
  if (child.pid === undefined) return;
  const descendants = child.exitCode === null && child.signalCode === null ? descendantsOf(child.pid) : [];
  signalQuietly(-child.pid, 'SIGKILL');
  for (const pid of descendants) signalQuietly(pid, 'SIGKILL');
}

function hasMembers(group: number): boolean {
  try {
    return process.kill(-group, 0);
  } catch {
    // ESRCH: all of it ended.
    return false;
  }
}

function signalQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // ESRCH: it ended by itself, which is what was wanted.
  }
}

/** A child is listed under the thread that started it, hence the walk over threads. */
function descendantsOf(pid: number): number[] {
  return threadsOf(pid).flatMap((thread) =>
    childrenOf(pid, thread).flatMap((child) => [child, ...descendantsOf(child)]),
  );
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    // Gone in the meantime, or a system without /proc: its group is all we have.
    return [];
  }
}

function childrenOf(pid: number, thread: string): number[] {
  try {
    const list = readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1');
    return list.split(' ').filter(Boolean).map(Number);
  } catch {
    // The thread ended in the meantime.
    return [];
  }
}
