import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';

/**
 * The host's process table, as far as a driver needs it: who descends from whom, how much memory and how many
 * threads, and a start time that tells a recycled pid from the process once meant. Linux reads `/proc`, others
 * ask `ps`.
 */
export type ProcessEntry = {
  pid: number;
  parent: number;
  group: number;
  session: number;
  threads: number;
  residentBytes: number;
  /** Opaque; with the pid it names one process for as long as the machine is up. */
  startTime: string;
  /** `Z` is a zombie: dead, only not yet reaped. */
  state: string;
};

/** AT_PAGESZ of the auxiliary vector (getauxval(3)); 4096 where there is none to read. */
const pageBytes = readPageBytes();

export async function listProcesses(): Promise<ProcessEntry[]> {
  return process.platform === 'linux' ? listFromProc() : listFromPs();
}

/** One process, or undefined when it is gone. */
export async function findProcess(pid: number): Promise<ProcessEntry | undefined> {
  if (process.platform === 'linux') return readProcess(pid);
  return (await listFromPs()).find((entry) => entry.pid === pid);
}

/** `root` and all that descends from it. Orphans inside a pid namespace fall to its pid 1, so none is missed. */
export function descendants(processes: readonly ProcessEntry[], root: number): ProcessEntry[] {
  const children = Map.groupBy(processes, (entry) => entry.parent);
  const found = processes.filter((entry) => entry.pid === root);
  for (const entry of found) found.push(...(children.get(entry.pid) ?? []));
  return found;
}

/** Signals a process that may be gone by now. Returns whether it was there. */
export function signalProcess(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if (isErrno(error, 'ESRCH')) return false;
    throw error;
  }
}

/** The part of a process's memory that is its own: shared pages divided by their sharers. */
export function proportionalBytes(pid: number): number {
  try {
    const kilobytes = /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    // Gone between the listing and now: it uses nothing.
    return 0;
  }
}

/** Linux only; nothing of one that has ended. */
export function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return []; // Ended while we were looking.
  }
}

export function isErrno(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}

function readPageBytes(): number {
  try {
    const words = new BigUint64Array(new Uint8Array(readFileSync('/proc/self/auxv')).buffer);
    const at = words.findIndex((word, index) => index % 2 === 0 && word === 6n);
    return Number(words[at + 1] ?? 4096n);
  } catch {
    return 4096; // Not Linux, where nothing here counts in pages.
  }
}

function listFromProc(): ProcessEntry[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => readProcess(pid))
    .filter((entry) => entry !== undefined);
}

/** One process by `/proc`. */
export function readProcess(pid: number | string): ProcessEntry | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined; // Ended while we were listing.
  }
  // The command name may hold spaces and parentheses; fields are counted from the last one (proc_pid_stat(5)).
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    pid: Number(pid),
    state: fields[0] ?? '',
    parent: Number(fields[1]),
    group: Number(fields[2]),
    session: Number(fields[3]),
    threads: Number(fields[17]),
    startTime: fields[19] ?? '',
    residentBytes: Number(fields[21]) * pageBytes,
  };
}

async function listFromPs(): Promise<ProcessEntry[]> {
  const columns = 'pid=,ppid=,pgid=,rss=,stat=,lstart=';
  const { stdout } = await promisify(execFile)('ps', ['-axo', columns], { maxBuffer: 16 << 20 });
  return stdout.split('\n').flatMap((line) => {
    const [pid, parent, group, rss, state, ...start] = line.trim().split(/\s+/);
    if (!pid) return [];
    return {
      pid: Number(pid),
      parent: Number(parent),
      group: Number(group),
      session: 0,
      threads: 1,
      residentBytes: Number(rss) * 1024,
      startTime: start.join(' '),
      state: state?.[0] ?? '',
    };
  });
}
