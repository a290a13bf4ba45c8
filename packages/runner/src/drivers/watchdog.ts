import type { SandboxEndCause, SandboxLimits } from '../driver.ts';
import { createDiskMeter, createWalkQueue, type DiskMeter, type DiskMeterOptions } from './disk-usage.ts';
import { listProcesses, type ProcessEntry, proportionalBytes } from './processes.ts';

/**
 * Holds the limits no kernel holds for us: always the disk, and memory and processes where there is no control
 * group for them. One timer for all sandboxes of a driver; a tick costs a statfs for each and, only where
 * groups are missing, one listing of the process table.
 */
export type Watchdog = {
  /** Returns how to stop watching. */
  watch(subject: WatchSubject): () => void;
};

export type WatchSubject = {
  limits: SandboxLimits;
  disk: Omit<DiskMeterOptions, 'limitBytes' | 'now'>;
  /** The kernel killed for memory. */
  outOfMemory(): boolean;
  /** The sandbox's processes in this listing, where memory or processes are the watchdog's; else undefined. */
  members: ((processes: readonly ProcessEntry[]) => ProcessEntry[]) | undefined;
  holdsMemory: boolean;
  holdsProcesses: boolean;
  kill(cause: SandboxEndCause): void;
};

export type WatchdogOptions = {
  intervalMs?: number;
  now?: () => number;
  warn(error: unknown, what: string): void;
};

type Watched = { subject: WatchSubject; meter: DiskMeter; walking: boolean };

export function createWatchdog({
  intervalMs = 100,
  now = () => performance.now(),
  warn,
}: WatchdogOptions): Watchdog {
  const watched = new Set<Watched>();
  const queue = createWalkQueue();
  let timer: NodeJS.Timeout | undefined;
  let looking = false;

  async function tick(): Promise<void> {
    for (const one of watched) {
      if (one.subject.outOfMemory()) one.subject.kill('oom');
      if (!one.walking && one.meter.check(now()).due) void walk(one);
    }
    if (looking) return;
    const kept = [...watched].filter((one) => one.subject.members);
    if (kept.length === 0) return;
    looking = true;
    const processes = await listProcesses().finally(() => {
      looking = false;
    });
    for (const { subject } of kept) judge(subject, subject.members?.(processes) ?? []);
  }

  async function walk(one: Watched): Promise<void> {
    one.walking = true;
    try {
      const used = await one.meter.walk();
      if (used >= one.subject.limits.diskBytes && watched.has(one)) one.subject.kill('disk_full');
    } catch (error) {
      warn(error, 'could not measure the disk use of a sandbox');
    } finally {
      one.walking = false;
    }
  }

  return {
    watch(subject) {
      const meter = createDiskMeter({ ...subject.disk, limitBytes: subject.limits.diskBytes, now }, queue);
      const one: Watched = { subject, meter, walking: false };
      watched.add(one);
      timer ??= setInterval(() => {
        tick().catch((error: unknown) => warn(error, 'could not watch the sandboxes'));
      }, intervalMs);
      return () => {
        watched.delete(one);
        if (watched.size > 0) return;
        clearInterval(timer);
        timer = undefined;
      };
    },
  };
}

function judge(subject: WatchSubject, members: readonly ProcessEntry[]): void {
  const { memoryBytes, processes } = subject.limits;
  const threads = members.reduce((sum, entry) => sum + entry.threads, 0);
  if (subject.holdsProcesses && threads > processes) subject.kill('too_many_processes');
  else if (subject.holdsMemory && memoryOf(members, memoryBytes) > memoryBytes) subject.kill('oom');
}

/** Resident bytes count shared pages many times; the exact sum is dear, and only asked when it could matter. */
export function memoryOf(members: readonly ProcessEntry[], limitBytes: number): number {
  const resident = members.reduce((sum, entry) => sum + entry.residentBytes, 0);
  if (resident <= limitBytes || process.platform !== 'linux') return resident;
  return members.reduce((sum, entry) => sum + proportionalBytes(entry.pid), 0);
}

/** For `ulimit -f`, which counts in blocks. */
export function fileSizeBlocks(limits: SandboxLimits): number {
  return Math.ceil(fileSizeBytes(limits) / 512);
}

/**
 * What one file may hold. Above the disk limit, so that the watchdog ends a sandbox for it with the right cause before
 * its programs fail one by one; there is no guard but this within a watchdog's tick.
 */
export function fileSizeBytes({ diskBytes }: SandboxLimits): number {
  return diskBytes + (256 << 20);
}
