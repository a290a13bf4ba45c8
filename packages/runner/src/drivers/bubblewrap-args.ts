import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Mount, SandboxSpec } from '../driver.ts';
import { fds } from './bubblewrap-start.ts';

/**
 * What a bubblewrap sandbox sees, as bwrap's arguments: the system read-only, of `/etc` what programs need and
 * nothing that says anything about this host, its own workspace, home and temporary files, and Node.
 * Namespaces come first and the programs last, so that a list cut short by a dying runner runs nothing.
 * `/` and `/dev` are remounted read-only at the end: bwrap makes both as memory file systems without a size.
 */
export const insidePaths = {
  workspace: '/workspace',
  home: '/home/agent',
  temporary: '/tmp',
  sharedMemory: '/dev/shm',
  node: '/opt/node/bin/node',
} as const;

export const insideUid = 1000;

/** Set by the driver in every sandbox; `spec.env` comes on top. */
export const baseEnv = {
  PATH: '/opt/node/bin:/usr/local/bin:/usr/bin:/bin',
  HOME: insidePaths.home,
  USER: 'agent',
  LOGNAME: 'agent',
  SHELL: '/bin/sh',
  TMPDIR: insidePaths.temporary,
  LANG: 'C.UTF-8',
} as const;

const hostname = 'atoll';

/** Host files that programs need and that say nothing of this host; copied once, since each bind costs a start 0.1 ms. */
const copiedEtc = [
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'localtime',
  'mime.types',
  'protocols',
  'services',
  'ssl/openssl.cnf',
];

/** The same, too big to copy. */
const boundEtc = ['alternatives', 'ssl/certs', 'pki/tls/certs', 'pki/ca-trust/extracted', 'terminfo'];

/** Of a sandbox in a user namespace; one without has an entry of its own (sandbox-users.ts). */
export const ownEtc = {
  passwd: `root:x:0:0:root:/root:/usr/sbin/nologin\nagent:x:${insideUid}:${insideUid}:agent:${insidePaths.home}:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n`,
  group: `root:x:0:\nagent:x:${insideUid}:\nnogroup:x:65534:\n`,
  hosts: `127.0.0.1 localhost ${hostname}\n::1 localhost ip6-localhost\n`,
  hostname: `${hostname}\n`,
  'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n',
};

const linkedEtc = { 'os-release': '../usr/lib/os-release', mtab: '../proc/self/mounts' } as const;

/** Makes the `/etc` of all sandboxes; the same for all of them. Returns its directory. */
export function writeEtc(dataDir: string): string {
  const directory = join(dataDir, 'system', 'etc');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  for (const name of copiedEtc) {
    if (!existsSync(`/etc/${name}`)) continue;
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    cpSync(`/etc/${name}`, join(directory, name), { recursive: true, dereference: true });
  }
  for (const name of boundEtc.filter(isHostEtc)) mkdirSync(join(directory, name), { recursive: true });
  for (const [name, text] of Object.entries(ownEtc))
    writeFileSync(join(directory, name), text, { mode: 0o644 });
  for (const [name, target] of Object.entries(linkedEtc)) symlinkSync(target, join(directory, name));
  // Whatever the runner's umask, sandboxes read this as somebody else.
  execFileSync('chmod', ['-R', 'a+rX', join(dataDir, 'system')]);
  return directory;
}

/** On top of it. */
export function boundEtcMounts(): Mount[] {
  return boundEtc.filter(isHostEtc).map((name) => ({ source: `/etc/${name}`, target: `/etc/${name}` }));
}

function isHostEtc(name: string): boolean {
  return existsSync(`/etc/${name}`);
}

export type BubblewrapPlan = {
  spec: SandboxSpec;
  /** Its command finds the channel to hand a listener over. */
  hands: boolean;
  etc: string;
  /** The host path bwrap can reach a source by. */
  show(source: string): Promise<string>;
};

export async function bubblewrapArgs({ spec, hands, etc, show }: BubblewrapPlan): Promise<string[]> {
  const { limits, directory } = spec;
  const env = { ...baseEnv, ...spec.env, ...(hands && { NODE_CHANNEL_FD: String(fds.hand) }) };
  return [
    ...['--unshare-user', '--unshare-pid', '--unshare-net', '--unshare-ipc', '--unshare-uts'],
    ...['--unshare-cgroup-try', '--die-with-parent', '--new-session'],
    ...['--uid', String(insideUid), '--gid', String(insideUid), '--hostname', hostname],
    ...['--seccomp', String(fds.seccomp), '--json-status-fd', String(fds.status)],
    ...Object.entries(env).flatMap(([name, value]) => ['--setenv', name, value]),
    ...['--chdir', insidePaths.workspace],
    ...['--ro-bind', await show(etc), '/etc'],
    ...boundEtcMounts().flatMap(({ source, target }) => ['--ro-bind', source, target]),
    ...['--proc', '/proc', '--dev', '/dev'],
    ...temporary(insidePaths.sharedMemory, limits.memoryBytes / 8),
    ...temporary(insidePaths.temporary, Math.min(limits.diskBytes, limits.memoryBytes / 2)),
    ...['--bind', join(await show(directory), 'workspace'), insidePaths.workspace],
    ...['--bind', join(await show(directory), 'home'), insidePaths.home],
    ...['--ro-bind', await show(process.execPath), insidePaths.node],
    ...(await mounts(spec.readOnly, '--ro-bind', show)),
    ...(await mounts(spec.sockets, '--bind', show)),
    ...systemArgs(),
    ...['--remount-ro', '/dev', '--remount-ro', '/'],
  ];
}

/** What of this machine is shown read-only, some of it links to the rest. */
export function systemDirectories(): string[] {
  const top = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
  return top.filter((path) => existsSync(path));
}

function systemArgs(): string[] {
  return systemDirectories().flatMap((path) =>
    lstatSync(path).isSymbolicLink() ? ['--symlink', readlinkSync(path), path] : ['--ro-bind', path, path],
  );
}

function temporary(path: string, sizeBytes: number): string[] {
  return ['--perms', '1777', '--size', String(Math.max(4096, Math.floor(sizeBytes))), '--tmpfs', path];
}

async function mounts(
  list: SandboxSpec['readOnly'],
  option: string,
  show: BubblewrapPlan['show'],
): Promise<string[]> {
  const args: string[] = [];
  for (const { source, target } of list) args.push(option, await show(source), target);
  return args;
}
