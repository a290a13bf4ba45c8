import { lstatSync, mkdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Mount, SandboxOwner, SandboxSpec } from '../driver.ts';
import { baseEnv, boundEtcMounts, insidePaths, ownEtc, systemDirectories } from './bubblewrap-args.ts';
import { CHANNEL_SOCKET, CHANNEL_VARIABLE } from './channel-socket.ts';
import { userOf, writeUsers } from './sandbox-users.ts';
import { fileSizeBytes } from './watchdog.ts';

export type BundlePlan = {
  spec: SandboxSpec;
  owner: SandboxOwner;
  /** Becomes the bundle. */
  ownDirectory: string;
  /** Of all sandboxes. */
  etc: string;
};

const insideSocket = '/run/atoll/bridge.sock';

/** Writes the bundle (OCI runtime specification): the system read-only, and what is the sandbox's own. */
export function writeBundle(plan: BundlePlan): void {
  const root = join(plan.ownDirectory, 'root');
  mkdirSync(root, { recursive: true });
  for (const path of linkedTop()) symlinkSync(readlinkSync(path), join(root, path));
  const { uid, gid } = userOf(plan.owner);
  const { command, limits } = plan.spec;
  const same = (type: string, value: number) => ({ type: `RLIMIT_${type}`, soft: value, hard: value });
  const config = {
    ociVersion: '1.0.2',
    hostname: 'atoll',
    process: {
      terminal: false,
      user: { uid, gid },
      args: command,
      env: Object.entries(environment(plan.spec)).map(([name, value]) => `${name}=${value}`),
      cwd: insidePaths.workspace,
      capabilities: {},
      noNewPrivileges: true,
      rlimits: [
        same('CORE', 0),
        same('FSIZE', fileSizeBytes(limits)),
        same('NOFILE', limits.openFiles),
        same('NPROC', limits.processes),
      ],
    },
    root: { path: 'root', readonly: true },
    mounts: mounts(plan),
    linux: { namespaces: ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type })) },
  };
  writeFileSync(join(plan.ownDirectory, 'config.json'), JSON.stringify(config), { mode: 0o600 });
}

function mounts({ spec, owner, ownDirectory, etc }: BundlePlan): object[] {
  const { memoryBytes, diskBytes } = spec.limits;
  const host = systemDirectories().filter((path) => !lstatSync(path).isSymbolicLink());
  const own = [
    { source: join(spec.directory, 'workspace'), target: insidePaths.workspace },
    { source: join(spec.directory, 'home'), target: insidePaths.home },
    { source: join(ownDirectory, CHANNEL_SOCKET), target: insideSocket },
    ...spec.sockets,
  ];
  const shown = [
    ...host.map((path) => ({ source: path, target: path })),
    { source: etc, target: '/etc' },
    ...boundEtcMounts(),
    ...writeUsers(ownDirectory, owner, ownEtc),
    { source: process.execPath, target: insidePaths.node },
    ...spec.readOnly,
  ];
  return [
    { destination: '/proc', type: 'proc', source: 'proc' },
    temporary(insidePaths.sharedMemory, memoryBytes / 8),
    temporary(insidePaths.temporary, Math.min(diskBytes, memoryBytes / 2)),
    ...shown.map(bind('ro')),
    ...own.map(bind('rw')),
  ];
}

function bind(access: 'ro' | 'rw') {
  return ({ source, target }: Mount) => ({
    destination: target,
    type: 'bind',
    source,
    options: ['rbind', access, 'nosuid', 'nodev'],
  });
}

function temporary(destination: string, sizeBytes: number): object {
  const size = Math.max(4096, Math.floor(sizeBytes));
  return {
    destination,
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'nodev', 'mode=1777', `size=${size}`],
  };
}

/** `/bin` and the like, where they lead below `/usr`. */
function linkedTop(): string[] {
  return systemDirectories().filter((path) => lstatSync(path).isSymbolicLink());
}

function environment(spec: SandboxSpec): Record<string, string> {
  return { ...baseEnv, ...spec.env, [CHANNEL_VARIABLE]: insideSocket };
}
