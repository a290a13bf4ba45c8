/**
 * A test run and what it leaves on the machine. Whatever a run makes is known by the run's own directory: files lie
 * in it (it is TMPDIR), sockets and mounts are below it, and a process has it in its environment, arguments, working
 * directory or mount table. A control group of the run's own holds what hides all that, and the groups it makes.
 * Other things on the machine, another run's too, never count.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmdirSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

export type TestRun = {
  readonly directory: string;
  /** The command as it is to be started, so that it belongs to the run. */
  command(line: readonly string[]): string[];
  /** What is there now, a line each. */
  leftovers(): string[];
  /** Removes what the run itself made. Only when nothing is left. */
  close(): void;
};

export function openTestRun(): TestRun {
  // Short: a socket's path has 107 bytes.
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'atoll-')));
  const mark = basename(directory);
  const groups = ownGroups().flatMap((group) => makeGroup(`${group}/${mark}`));
  const joining = groups.map((group) => `echo 0 > '${group}/cgroup.procs'\n`).join('');
  return {
    directory,
    command: (line) => ['sh', '-c', `${joining}exec "$@"`, 'sh', ...line],
    leftovers: () => [
      ...readdirSync(directory).map((name) => `file ${join(directory, name)}`),
      ...groups.flatMap((group) => list(group).map((name) => `control group ${group}/${name}`)),
      ...linesWith('/proc/self/mountinfo', mark).map((line) => `mount ${line}`),
      ...linesWith('/proc/net/unix', mark).map((line) => `socket ${line}`),
      ...processesOf(mark, groups).map((pid) => `process ${pid} ${read(`/proc/${pid}/cmdline`, ' ')}`),
    ],
    close() {
      for (const made of [...groups, directory]) rmdirSync(made);
    },
  };
}

function processesOf(mark: string, groups: readonly string[]): number[] {
  const inside = new Set(groups.flatMap(membersOf));
  return list('/proc')
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
  return [...own, ...list(group).flatMap((name) => membersOf(`${group}/${name}`))];
}

/** Where this process stands in the hierarchies that limit sandboxes, mounted where they are everywhere. */
function ownGroups(): string[] {
  return read('/proc/self/cgroup')
    .split('\n')
    .flatMap((line) => {
      const [, controllers, path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      if (controllers === undefined || !/^$|memory|pids|\bcpu\b/.test(controllers)) return [];
      const names = controllers === '' ? ['unified', ''] : [controllers];
      return names.map((name) => join('/sys/fs/cgroup', name, path));
    })
    .filter((group) => existsSync(join(group, 'cgroup.procs')));
}

/** None where we may not make one; the runner under test may not either. */
function makeGroup(group: string): string[] {
  try {
    mkdirSync(group);
    return [group];
  } catch {
    return [];
  }
}

function linesWith(file: string, mark: string): string[] {
  return read(file)
    .split('\n')
    .filter((line) => line.includes(mark));
}

/** The directories in a directory; none in one that is gone. */
function list(directory: string): string[] {
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
