import { spawn } from 'node:child_process';
import { existsSync, readdirSync, statfsSync, statSync } from 'node:fs';

/**
 * How much disk a sandbox uses. Without quotas that takes a walk, and a walk of a big tree takes long, so:
 * - the walk is `du`, a process of its own, few at a time; it follows no links and counts blocks;
 * - between walks the file system's own figure is looked at, which costs microseconds: a sandbox cannot have
 *   grown by more than the whole file system has, so there is nothing to walk for while its last size plus that
 *   growth is below its limit. That is how a `dd` is noticed within a tenth of a second;
 * - a file that is open but no longer in any directory escapes `du`, so open descriptors are looked through too;
 * - a file costs the file system an inode, of which it has only so many: empty ones are not for nothing.
 */
export type DiskMeter = {
  /** Bytes used at the last walk, and whether another one is due. Cheap. */
  check(now: number): { usedBytes: number; due: boolean };
  /** Walks. Resolves to bytes used. */
  walk(): Promise<number>;
};

export type DiskMeterOptions = {
  directories: readonly string[];
  limitBytes: number;
  /** Temporary files on a file system of their own. */
  temporaryBytes(): number;
  /** Processes whose deleted but open files count. */
  pids(): Promise<readonly number[]>;
  /** Put before `du`, where reading the tree needs more rights than ours. */
  prefix?: readonly string[];
  now(): number;
};

/** Growth and shrinking by others can hide behind each other, so now and then the tree is walked anyway. */
const walkAtLeastEveryMs = 15_000;
/** Not while it starts, when others wait for this machine; growth is noticed from the beginning. */
const firstWalkAfterMs = 3_000;
/** A walk may take this share of the time. */
const walkShare = 0.1;
const walksAtOnce = 2;
const maxOpenFiles = 5000;
/** What each file, folder and link is counted as beside its blocks. File systems have an inode for some 16 KiB. */
const inodeBytes = 1024;
/** By its path: looking through PATH for it would be done at every walk. */
const du = ['/usr/bin/du', '/bin/du'].find((path) => existsSync(path)) ?? 'du';

export function createDiskMeter(options: DiskMeterOptions, queue: WalkQueue): DiskMeter {
  const top = options.directories[0] ?? '/';
  let usedBytes = 0;
  let filledAtWalk = filledBytes(top);
  let walkedAt = options.now() - walkAtLeastEveryMs + firstWalkAfterMs;
  let tookMs = 0;
  return {
    check(now) {
      const bound = usedBytes + Math.max(0, filledBytes(top) - filledAtWalk) + options.temporaryBytes();
      const restedMs = now - walkedAt;
      const due = bound >= options.limitBytes || restedMs >= walkAtLeastEveryMs;
      return { usedBytes, due: due && restedMs >= tookMs / walkShare };
    },
    async walk() {
      const filled = filledBytes(top);
      const walked = await queue.run(async () => {
        const startedAt = options.now();
        const { directories, prefix } = options;
        const [bytes, inodes] = await Promise.all([
          diskUsage(directories, prefix),
          sumOf(['--inodes'], directories, prefix),
        ]);
        tookMs = options.now() - startedAt;
        return bytes + inodes * inodeBytes;
      });
      usedBytes = walked + deletedBytes(await options.pids(), statSync(top).dev);
      filledAtWalk = filled;
      walkedAt = options.now();
      return usedBytes + options.temporaryBytes();
    },
  };
}

export type WalkQueue = { run<T>(work: () => Promise<T>): Promise<T> };

/** Keeps a hundred growing sandboxes from starting a hundred walks at once. */
export function createWalkQueue(atOnce = walksAtOnce): WalkQueue {
  const lanes = Array.from({ length: atOnce }, () => Promise.resolve());
  let next = 0;
  return {
    run(work) {
      const lane = next++ % atOnce;
      const done = (lanes[lane] ?? Promise.resolve()).then(work);
      lanes[lane] = done.then(
        () => {},
        () => {},
      );
      return done;
    },
  };
}

/** Blocks used by trees, in bytes, hard links once. What cannot be read or vanishes meanwhile counts nothing. */
export async function diskUsage(
  directories: readonly string[],
  prefix: readonly string[] = [],
): Promise<number> {
  return (await sumOf(['-k'], directories, prefix)) * 1024;
}

/** What `du` with these flags says of the trees together; 0 where it does not know a flag. */
async function sumOf(
  flags: readonly string[],
  directories: readonly string[],
  prefix: readonly string[] = [],
): Promise<number> {
  const [program = du, ...args] = [...prefix, du, '-s', ...flags, '--', ...directories];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  await new Promise<void>((resolve, reject) => child.once('close', () => resolve()).once('error', reject));
  return output
    .split('\n')
    .map((line) => Number.parseInt(line, 10))
    .reduce((sum, counted) => sum + (counted || 0), 0);
}

/** Used bytes of the file system that holds `path`, its inodes counted; 0 when it cannot be asked. */
export function filledBytes(path: string): number {
  try {
    const { blocks, bfree, bsize, files, ffree } = statfsSync(path);
    return (blocks - bfree) * bsize + (files - ffree) * inodeBytes;
  } catch {
    // The directory or process went between two looks; whoever asks finds that out in its own way.
    return 0;
  }
}

/**
 * Used bytes of a sandbox's memory file systems. While it starts, a path below its root still leads to the host's own
 * `/tmp`, whose disk would count as the sandbox's: what lies on a device of the host counts nothing.
 */
export function temporaryBytes(innerPid: number, paths: readonly string[]): number {
  return paths.reduce((sum, path) => {
    const inside = `/proc/${innerPid}/root${path}`;
    const device = deviceOf(inside);
    const isOwn = device !== undefined && device !== deviceOf(path) && device !== deviceOf('/');
    return isOwn ? sum + filledBytes(inside) : sum;
  }, 0);
}

function deviceOf(path: string): number | undefined {
  try {
    return statSync(path).dev;
  } catch {
    return undefined; // The process ended, or the path is not there yet.
  }
}

function deletedBytes(pids: readonly number[], device: number): number {
  const sizes = new Map<number, number>();
  let looked = 0;
  for (const pid of pids) {
    for (const fd of openFiles(pid)) {
      if (looked++ > maxOpenFiles) break;
      const file = statSync(fd, { throwIfNoEntry: false });
      if (file?.nlink === 0 && file.isFile() && file.dev === device) sizes.set(file.ino, file.blocks * 512);
    }
  }
  return [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => `/proc/${pid}/fd/${fd}`);
  } catch {
    return []; // Ended, not ours to look into, or no /proc here.
  }
}
