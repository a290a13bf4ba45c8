/** The floor of a sandbox: bubblewrap and Node, which ends at once. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lstatSync, readlinkSync } from 'node:fs';

/** The namespaces and mounts that a sandbox of ours has, without its filter, limits and uid of its own. */
export async function runBareSandbox(directory: string): Promise<void> {
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
