/**
 * A test run and what it leaves on the machine. Whatever a run makes is known by the run's own directory: files lie
 * in it (it is TMPDIR), everything else names it, or lies in a control group of the run's own. Other things on the
 * machine, another run's too, never count.
 */
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { directoriesIn, groupsOf, tracesOf } from '../testing/traces.ts';

/** Node's own, made by npm and tsc in the temporary directory; no test's leftover. */
const NODE_CACHE = 'node-compile-cache';

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
  // Not where CPU time is shared out: there a group counts as much as one process beside it.
  const shared = groupsOf('self').filter((group) => !group.startsWith('/sys/fs/cgroup/cpu'));
  const groups = shared.flatMap((group) => makeGroup(join(group, mark)));
  const joining = groups.map((group) => `echo 0 > '${group}/cgroup.procs'\n`).join('');
  return {
    directory,
    command: (line) => ['sh', '-c', `${joining}exec "$@"`, 'sh', ...line],
    leftovers: () => [
      ...readdirSync(directory)
        .filter((name) => name !== NODE_CACHE)
        .map((name) => `file ${join(directory, name)}`),
      ...groups.flatMap((group) => directoriesIn(group).map((name) => `control group ${join(group, name)}`)),
      ...tracesOf(mark, groups),
    ],
    close() {
      rmSync(join(directory, NODE_CACHE), { recursive: true, force: true });
      for (const made of [...groups, directory]) rmdirSync(made);
    },
  };
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
