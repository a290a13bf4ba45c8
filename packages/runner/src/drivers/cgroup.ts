import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { SandboxLimits, SandboxUsage } from '../driver.ts';
import { neverStill, STANDSTILL_MS } from './process-tree.ts';
import { isErrno, signalProcess } from './processes.ts';

/**
 * Limits by control group, wherever one can be used: v1 controllers below this process's own group (hybrid
 * machines), else v2 with controllers delegated to us. What is made lies in one group of this driver,
 * `<own group>/atoll-<name>/<sandbox>`; no other group is ever written to.
 *
 * The v2 rule that a group with processes cannot hand controllers down means that the runner itself may have to
 * step into a leaf (`atoll-<name>-runner`) first. It does so only when it is alone in its group, as a service
 * with `Delegate=yes` is; in a shell's group it is not, and then the watchdog holds the limits.
 *
 * A sandbox joins from the shell that becomes it, by writing `0`: under v1 into `tasks`, since moving one's own
 * single thread takes no global lock, where moving another process waits 10 ms for an RCU grace period.
 */
export type Cgroups = {
  /** What is limited by a group here, per limit. */
  readonly means: Record<CgroupController, CgroupMeans>;
  /** `overhead`: how many processes of the driver's own are in it. */
  create(sandbox: string, limits: SandboxLimits, overhead?: number): SandboxCgroup;
  /** Kills and removes every sandbox group below ours. */
  sweep(): Promise<void>;
  /** Removes our own group, once the sandboxes' are gone. */
  release(): void;
  /** Where our groups lie; a later incarnation in another group finds leftovers by it. */
  readonly places: readonly string[];
};

export type CgroupController = 'memory' | 'pids' | 'cpu';
export type CgroupMeans = 'cgroup v1' | 'cgroup v2' | undefined;

export type SandboxCgroup = {
  readonly means: Cgroups['means'];
  /** Shell lines that move the shell into the group. */
  readonly joinScript: string;
  /** Every process inside, by host pid; undefined where there is no group to ask. */
  pids(): number[] | undefined;
  /** Whether the kernel had to kill for memory. */
  outOfMemory(): boolean;
  usage(): Partial<SandboxUsage>;
  /** Undefined where groups cannot freeze so that SIGKILL still works: v1's freezer cannot. */
  readonly freeze: ((frozen: boolean) => Promise<void>) | undefined;
  kill(): void;
  /** Kills what is left, waits for its end, and removes the group. */
  remove(): Promise<void>;
};

type Slot = {
  version: 1 | 2;
  controllers: CgroupController[];
  directory: string;
  /** Takes back what opening it changed above. */
  undo?: () => void;
};

const controllers: readonly CgroupController[] = ['memory', 'pids', 'cpu'];
const cpuPeriodUs = 100_000;
/** bwrap outside and bwrap as pid 1 inside are not the sandbox's own. */
const bwrapProcesses = 2;

export function openCgroups(name: string): Cgroups {
  const slots = findSlots(`atoll-${name}`);
  const means: Cgroups['means'] = { memory: undefined, pids: undefined, cpu: undefined };
  for (const slot of slots) {
    for (const controller of slot.controllers) means[controller] = `cgroup v${slot.version}`;
  }
  return {
    means,
    places: slots.map((slot) => slot.directory),
    create: (sandbox, limits, overhead = bwrapProcesses) =>
      createGroup(slots, means, { sandbox, limits, overhead }),
    sweep: async () => {
      for (const slot of slots) await sweepCgroups(slot.directory);
    },
    release: () => {
      for (const slot of slots) if (removeGroup(slot.directory)) slot.undo?.();
    },
  };
}

/** Ends and removes the sandbox groups below one of our own groups. */
export async function sweepCgroups(place: string): Promise<void> {
  for (const entry of listDirectories(place)) await clearGroup(`${place}/${entry}`);
}

function createGroup(
  slots: readonly Slot[],
  means: Cgroups['means'],
  { sandbox, limits: given, overhead }: { sandbox: string; limits: SandboxLimits; overhead: number },
): SandboxCgroup {
  const limits = { ...given, processes: given.processes + overhead };
  const groups = slots.map((slot) => ({ ...slot, directory: `${slot.directory}/${sandbox}` }));
  for (const group of groups) {
    mkdirSync(group.directory, { recursive: true });
    if (group.version === 1) limitV1(group, limits);
    else limitV2(group, limits);
  }
  const any = groups[0];
  const memory = groups.find((group) => group.controllers.includes('memory'));
  const pids = groups.find((group) => group.controllers.includes('pids'));
  const unified = groups.find((group) => group.version === 2);
  return {
    means,
    joinScript: groups.map(joinLine).join(''),
    pids: () => (any ? readPids(any.directory) : undefined),
    outOfMemory: () => memory !== undefined && oomKills(memory) > 0,
    usage: () => ({
      ...(memory && { memoryBytes: memoryInUse(memory) }),
      ...(pids && { processes: Math.max(0, readNumber(pids, 'pids.current') - overhead) }),
    }),
    freeze: unified && ((frozen) => freezeGroup(unified.directory, frozen)),
    kill: () => {
      for (const group of groups) killGroup(group.directory);
    },
    remove: async () => {
      for (const group of groups) await clearGroup(group.directory);
    },
  };
}

/** Quoting: our own names and the kernel's mount points only, which hold no quote. */
function joinLine(group: Slot): string {
  const file = group.version === 1 ? 'tasks' : 'cgroup.procs';
  return `echo 0 > '${group.directory}/${file}' || exit 125\n`;
}

function limitV1({ directory, controllers }: Slot, limits: SandboxLimits): void {
  if (controllers.includes('memory')) {
    write(directory, 'memory.limit_in_bytes', limits.memoryBytes);
    // Without this a sandbox would swap instead of ending. Absent where swap is not accounted.
    if (existsSync(`${directory}/memory.memsw.limit_in_bytes`)) {
      write(directory, 'memory.memsw.limit_in_bytes', limits.memoryBytes);
    }
  }
  if (controllers.includes('pids')) write(directory, 'pids.max', limits.processes);
  if (controllers.includes('cpu') && limits.cpu > 0) {
    write(directory, 'cpu.cfs_quota_us', Math.max(1000, Math.round(limits.cpu * cpuPeriodUs)));
  }
}

function limitV2({ directory, controllers }: Slot, limits: SandboxLimits): void {
  if (controllers.includes('memory')) {
    write(directory, 'memory.max', limits.memoryBytes);
    write(directory, 'memory.oom.group', 1);
    if (existsSync(`${directory}/memory.swap.max`)) write(directory, 'memory.swap.max', 0);
  }
  if (controllers.includes('pids')) write(directory, 'pids.max', limits.processes);
  if (controllers.includes('cpu') && limits.cpu > 0) {
    write(directory, 'cpu.max', `${Math.max(1000, Math.round(limits.cpu * cpuPeriodUs))} ${cpuPeriodUs}`);
  }
}

function oomKills(group: Slot): number {
  const file = group.version === 1 ? 'memory.oom_control' : 'memory.events';
  return readField(group, file, 'oom_kill');
}

/** As `docker stats` counts: file pages the kernel would give back at once are not the sandbox's. */
function memoryInUse(group: Slot): number {
  const v1 = group.version === 1;
  const total = readNumber(group, v1 ? 'memory.usage_in_bytes' : 'memory.current');
  return Math.max(0, total - readField(group, 'memory.stat', v1 ? 'total_inactive_file' : 'inactive_file'));
}

async function freezeGroup(directory: string, frozen: boolean): Promise<void> {
  write(directory, 'cgroup.freeze', frozen ? 1 : 0);
  const wanted = `frozen ${frozen ? 1 : 0}`;
  const end = performance.now() + STANDSTILL_MS;
  while (existsSync(directory) && !readFileSync(`${directory}/cgroup.events`, 'latin1').includes(wanted)) {
    if (performance.now() > end) throw neverStill(STANDSTILL_MS);
    await delay(1);
  }
}

function killGroup(directory: string): void {
  if (existsSync(`${directory}/cgroup.kill`)) write(directory, 'cgroup.kill', 1);
  else for (const pid of readPids(directory)) signalProcess(pid, 'SIGKILL');
}

/** A group can be removed when its last process is gone for good, so its removal is also the proof of that. */
async function clearGroup(directory: string): Promise<void> {
  for (let waitMs = 1; !removeGroup(directory); waitMs = Math.min(waitMs * 2, 50)) {
    killGroup(directory);
    await delay(waitMs);
  }
}

function removeGroup(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return true;
    if (isErrno(error, 'EBUSY', 'ENOTEMPTY')) return false;
    throw error;
  }
}

function findSlots(name: string): Slot[] {
  const hierarchies = readHierarchies();
  const slots = hierarchies.filter((one) => one.version === 1).flatMap((one) => openV1(one, name));
  if (slots.length > 0) return slots;
  return hierarchies.filter((one) => one.version === 2).flatMap((one) => openV2(one.own, name));
}

type Hierarchy = { version: 1 | 2; controllers: CgroupController[]; own: string };

/** Where this process stands in each mounted hierarchy: /proc/self/cgroup, read against each mount's root. */
function readHierarchies(): Hierarchy[] {
  if (process.platform !== 'linux') return [];
  const paths = readFileSync('/proc/self/cgroup', 'utf8')
    .trim()
    .split('\n')
    .map((line) => /^\d+:([^:]*):(.*)$/.exec(line) ?? []);
  const seen = new Set<string>();
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [before = '', after = ''] = line.split(' - ');
      const [, , , root = '/', mountPoint = ''] = before.split(' ');
      const [type, , options = ''] = after.split(' ');
      if (type !== 'cgroup' && type !== 'cgroup2') return [];
      const version = type === 'cgroup' ? 1 : 2;
      const found = controllers.filter((controller) => options.split(',').includes(controller));
      const path = paths.find(([, names = '']) =>
        version === 2 ? names === '' : found.some((controller) => names.split(',').includes(controller)),
      )?.[2];
      if (path === undefined || (version === 1 && found.length === 0)) return [];
      const below = root !== '/' && path.startsWith(root) ? path.slice(root.length) : path;
      const own = `${mountPoint}${below}`.replace(/\/+$/, '');
      if (seen.has(own) || !existsSync(`${own}/cgroup.procs`)) return [];
      seen.add(own);
      return [{ version, controllers: found, own } satisfies Hierarchy];
    });
}

function openV1(hierarchy: Hierarchy, name: string): Slot[] {
  const directory = `${hierarchy.own}/${name}`;
  if (!tryMakeGroup(directory)) return [];
  return [{ version: 1, controllers: hierarchy.controllers, directory }];
}

function openV2(own: string, name: string): Slot[] {
  const runnerGroup = `/${name}-runner`;
  // A second driver in one process finds the runner already in its leaf.
  const top = own.endsWith(runnerGroup) ? own.slice(0, -runnerGroup.length) : own;
  const offered = readWords(top, 'cgroup.controllers');
  const wanted = controllers.filter((controller) => offered.includes(controller));
  const directory = `${top}/${name}`;
  if (wanted.length === 0 || !tryMakeGroup(directory)) return [];
  const undo = handDown(top, wanted, `${top}${runnerGroup}`);
  if (undo && enable(directory, wanted)) return [{ version: 2, controllers: wanted, directory, undo }];
  removeGroup(directory);
  undo?.();
  return [];
}

/**
 * Enables controllers for the children of our own group, stepping into a leaf when only we stand in the way.
 * Returns how to take that back, or undefined when it cannot be done.
 */
function handDown(top: string, wanted: readonly CgroupController[], leaf: string): (() => void) | undefined {
  const enabled = readWords(top, 'cgroup.subtree_control');
  if (wanted.every((controller) => enabled.includes(controller))) return () => {};
  if (enable(top, wanted)) return () => void enable(top, wanted, '-');
  if (readPids(top).some((pid) => pid !== process.pid) || !tryMakeGroup(leaf)) return undefined;
  const stepBack = (): void => {
    enable(top, wanted, '-');
    write(top, 'cgroup.procs', process.pid);
    removeGroup(leaf);
  };
  write(leaf, 'cgroup.procs', process.pid);
  if (enable(top, wanted)) return stepBack;
  stepBack();
  return undefined;
}

function enable(directory: string, wanted: readonly CgroupController[], sign: '+' | '-' = '+'): boolean {
  try {
    write(directory, 'cgroup.subtree_control', wanted.map((controller) => `${sign}${controller}`).join(' '));
    return true;
  } catch (error) {
    if (isErrno(error, 'EBUSY', 'EACCES', 'EPERM', 'EROFS', 'ENOENT', 'EOPNOTSUPP')) return false;
    throw error;
  }
}

function tryMakeGroup(directory: string): boolean {
  try {
    mkdirSync(directory, { recursive: true });
    return true;
  } catch (error) {
    if (isErrno(error, 'EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ENOSPC', 'EAGAIN')) return false;
    throw error;
  }
}

function readPids(directory: string): number[] {
  return readWords(directory, 'cgroup.procs').map(Number);
}

function readWords(directory: string, file: string): string[] {
  return readText(directory, file).split(/\s+/).filter(Boolean);
}

function readNumber(group: Slot, file: string): number {
  return Number(readText(group.directory, file)) || 0;
}

function readField(group: Slot, file: string, field: string): number {
  const line = readText(group.directory, file)
    .split('\n')
    .find((one) => one.startsWith(`${field} `));
  return Number(line?.slice(field.length + 1) ?? 0);
}

function readText(directory: string, file: string): string {
  try {
    return readFileSync(`${directory}/${file}`, 'latin1');
  } catch (error) {
    // The group went between two looks: nothing is in it.
    if (isErrno(error, 'ENOENT', 'ENODEV')) return '';
    throw error;
  }
}

function listDirectories(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

function write(directory: string, file: string, value: string | number): void {
  writeFileSync(`${directory}/${file}`, String(value));
}
