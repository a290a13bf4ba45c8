/**
 * What something left on the machine, found by a name that it cannot have got rid of: part of a path below which it
 * worked. Sockets and mounts are listed with their path; a process has it in its environment, arguments, working
 * directory or, in a sandbox, mount table. Where something has a control group, that holds what hides all of these.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/** A line for each process, mount and Unix socket. */
export function tracesOf(mark: string, groups: readonly string[] = []): string[] {
  return [
    ...linesWith('/proc/self/mountinfo', mark).map((line) => `mount ${line}`),
    ...linesWith('/proc/net/unix', mark).map((line) => `socket ${line}`),
    ...processesOf(mark, groups).map((pid) => `process ${pid} ${read(`/proc/${pid}/cmdline`, ' ')}`),
  ];
}

/** Where a process stands in the hierarchies that limit sandboxes, mounted where they are everywhere. */
export function groupsOf(pid: number | 'self'): string[] {
  return read(`/proc/${pid}/cgroup`)
    .split('\n')
    .flatMap((line) => {
      const [, controllers, path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      if (controllers === undefined || !/^$|memory|pids|\bcpu\b/.test(controllers)) return [];
      const names = controllers === '' ? ['unified', ''] : [controllers];
      return names.map((name) => join('/sys/fs/cgroup', name, path));
    })
    .filter((group) => existsSync(join(group, 'cgroup.procs')));
}

/** This process does not count. */
export function processesOf(mark: string, groups: readonly string[] = []): number[] {
  const inside = new Set(groups.flatMap(membersOf));
  return directoriesIn('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid && (inside.has(pid) || names(pid, mark)));
}

function names(pid: number, mark: string): boolean {
  const files = ['environ', 'cmdline', 'mountinfo'].map((file) => read(`/proc/${pid}/${file}`));
  const links = ['cwd', 'root', 'exe'].map((link) => readLink(`/proc/${pid}/${link}`));
  return [...files, ...links].some((text) => text.includes(mark));
}

function membersOf(group: string): number[] {
  const own = read(`${group}/cgroup.procs`, ' ').split(/\s+/).filter(Boolean).map(Number);
  return [...own, ...directoriesIn(group).flatMap((name) => membersOf(`${group}/${name}`))];
}

function linesWith(file: string, mark: string): string[] {
  return read(file)
    .split('\n')
    .filter((line) => line.includes(mark));
}

/** None in one that is gone. */
export function directoriesIn(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    return [];
  }
}

/** What ended while we looked, or is not ours to read, says nothing. */
function read(file: string, separator = '\0'): string {
  try {
    return readFileSync(file, 'latin1').replaceAll('\0', separator).trim();
  } catch {
    return '';
  }
}

function readLink(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return '';
  }
}
