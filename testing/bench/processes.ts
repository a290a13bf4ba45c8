/** What Linux tells of processes: who descends from whom, memory and CPU time. */
import { readdirSync, readFileSync } from 'node:fs';

const KIB_PER_MB = 1024;
/** Of the times in /proc/PID/stat: USER_HZ, which is 100 on every Linux that Node runs on. */
const MS_PER_TICK = 10;

/** The process and all that descend from it. */
export function treeOf(pid: number): number[] {
  const parents = new Map<number, number[]>();
  for (const each of readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)) {
    const parent = statOf(each)?.parent;
    if (parent !== undefined) parents.set(parent, [...(parents.get(parent) ?? []), each]);
  }
  const tree = [pid];
  for (const each of tree) tree.push(...(parents.get(each) ?? []));
  return tree;
}

/** User and system time so far, of these processes and all their threads. */
export function cpuMsOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (statOf(pid)?.cpuMs ?? 0), 0);
}

export function rssMbOf(pid: number): number {
  return kibibytes(`/proc/${pid}/status`, 'VmRSS') / KIB_PER_MB;
}

/** Each page counted once, shared ones by their share. */
export function pssMbOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + kibibytes(`/proc/${pid}/smaps_rollup`, 'Pss'), 0) / KIB_PER_MB;
}

function kibibytes(file: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readIfThere(file))?.[1] ?? 0);
}

function statOf(pid: number): { parent: number; cpuMs: number } | undefined {
  const stat = readIfThere(`/proc/${pid}/stat`);
  // The name before may hold blanks and parentheses. After it: state, ppid, …, utime (14th field), stime.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields.length < 13) return undefined;
  return { parent: Number(fields[1]), cpuMs: (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK };
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // It ended meanwhile.
  }
}
