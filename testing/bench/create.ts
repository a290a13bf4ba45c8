/** From nothing to a session whose sandbox is ready, against a bare bubblewrap sandbox that runs node and ends. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lstatSync, mkdtempSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AtollTarget, startAtollTarget } from './atoll-target.ts';
import { figureOf, median, type Pair, timed } from './pairs.ts';
import { atMost, type Measure, row } from './row.ts';

const CREATES = 15;

export const create: Measure = {
  name: 'create',
  what: 'POST /api/sessions for a program agent, cold, p50',
  async take({ pairs: count, quick }) {
    await using atoll = await startAtollTarget({ sessions: 1 });
    const directory = mkdtempSync(join(tmpdir(), 'atoll-bench-bwrap-'));
    const pairs: Pair<number>[] = [];
    try {
      await takeRound(atoll, directory, 3);
      for (let i = 0; i < count; i++) pairs.push(await takeRound(atoll, directory, quick ? 5 : CREATES));
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
    const figure = figureOf(pairs, (ms) => ms);
    return [row('create, cold', 'ms', figure, { bar: atMost(1.8), aim: atMost(1.4) })];
  },
};

async function takeRound(atoll: AtollTarget, directory: string, creates: number): Promise<Pair<number>> {
  const ours: number[] = [];
  const floor: number[] = [];
  for (let i = 0; i < creates; i++) {
    ours.push(await timed(() => atoll.open()));
    await atoll.client.call('session.end', { sessionId: atoll.sessionIds.at(-1) ?? '', purge: true });
    floor.push(await timed(() => runBare(directory)));
  }
  return { ours: median(ours), floor: median(floor) };
}

/** The namespaces and mounts that a sandbox of ours has, without its filter, limits and uid of its own. */
async function runBare(directory: string): Promise<void> {
  const args = [
    ...['--unshare-user', '--unshare-pid', '--unshare-net', '--unshare-ipc', '--unshare-uts'],
    ...['--unshare-cgroup-try', '--die-with-parent', '--new-session', '--clearenv'],
    ...['--uid', '1000', '--gid', '1000', '--hostname', 'bare', '--chdir', '/workspace'],
    ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/dev/shm', '--tmpfs', '/tmp'],
    ...['--bind', directory, '/workspace', '--bind', directory, '/home/agent'],
    ...[
      '--ro-bind',
      process.execPath,
      '/opt/node/bin/node',
      '--ro-bind',
      '/usr',
      '/usr',
      ...topDirectories(),
    ],
    ...['--remount-ro', '/dev', '--remount-ro', '/'],
    ...['/opt/node/bin/node', '-e', '0'],
  ];
  const [code] = await once(spawn('bwrap', args, { stdio: ['ignore', 'ignore', 'inherit'] }), 'exit');
  if (code !== 0) throw new Error(`bwrap … node -e 0 ended with ${code}`);
}

function topDirectories(): string[] {
  const there = ['/bin', '/sbin', '/lib', '/lib64'].filter((path) => existsSync(path));
  return there.flatMap((path) =>
    lstatSync(path).isSymbolicLink() ? ['--symlink', readlinkSync(path), path] : ['--ro-bind', path, path],
  );
}
