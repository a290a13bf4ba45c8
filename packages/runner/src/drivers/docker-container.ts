import { join } from 'node:path';
import type Docker from 'dockerode';
import type { Mount, SandboxOwner, SandboxSpec } from '../driver.ts';
import { baseEnv, insidePaths } from './bubblewrap-args.ts';
import { CHANNEL_SOCKET, CHANNEL_VARIABLE } from './channel-socket.ts';
import type { ImageFacts } from './docker-image.ts';
import { dockerSeccomp } from './docker-seccomp.ts';
import { NODE_PATH, NODE_ROOT } from './portable-node.ts';
import { userOf, writeUsers } from './sandbox-users.ts';
import { fileSizeBytes } from './watchdog.ts';

/**
 * A sandbox as a container: the image read-only, its own workspace, home and temporary files in it, Node and what the
 * runner shows beside that, no network, no capability, the filter of every sandbox, its limits.
 */
export type ContainerPlan = {
  spec: SandboxSpec;
  image: ImageFacts;
  /** Whom it runs as: the owner of its files. */
  owner: SandboxOwner;
  /** Where the portable Node is. */
  node: string;
  /** What the sandbox is shown of it is the socket of its channel, and its users. */
  ownDirectory: string;
  /** undefined: the engine's own limit holds. */
  openFiles: number | undefined;
  name: string;
  labels: Record<string, string>;
};

/** docker-init, which reaps what the command leaves, is not the sandbox's own. */
export const overheadProcesses = 1;

const insideSocket = '/run/atoll/bridge.sock';
const cpuPeriodUs = 100_000;
const someMemoryBytes = 4096;

export function containerOptions(plan: ContainerPlan): Docker.ContainerCreateOptions {
  const { spec, image, name, labels } = plan;
  const { uid, gid } = userOf(plan.owner);
  return {
    name,
    Image: image.id,
    Labels: labels,
    Hostname: 'atoll',
    User: `${uid}:${gid}`,
    WorkingDir: insidePaths.workspace,
    // Its own Node, whatever the image has on its PATH.
    Entrypoint: spec.command.map((word, index) => (index === 0 && word === 'node' ? NODE_PATH : word)),
    Cmd: [],
    // A name alone takes out what the engine would set.
    Env: ['HOSTNAME', ...Object.entries(environment(plan)).map(([key, value]) => `${key}=${value}`)],
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      ...walls(plan),
      ...limits(plan),
      // Removed by the engine when it ends, also when nobody of ours is left to ask for it.
      AutoRemove: true,
      Init: true,
      LogConfig: { Type: 'none', Config: {} },
      Mounts: mounts(plan),
    },
  };
}

function walls({ image, spec }: ContainerPlan): Docker.HostConfig {
  const { memoryBytes, diskBytes } = spec.limits;
  const temporaryBytes = Math.max(someMemoryBytes, Math.floor(Math.min(diskBytes, memoryBytes / 2)));
  const places = [...image.volumes.filter((path) => !ownPlaces.includes(path)), insidePaths.temporary];
  return {
    ReadonlyRootfs: true,
    NetworkMode: 'none',
    // The engine would copy the resolver of this machine.
    Dns: ['127.0.0.1'],
    UsernsMode: 'host',
    IpcMode: 'private',
    CapDrop: ['ALL'],
    SecurityOpt: ['no-new-privileges', `seccomp=${dockerSeccomp()}`],
    Tmpfs: Object.fromEntries(
      places.map((path) => [path, `rw,exec,nosuid,nodev,mode=1777,size=${temporaryBytes}`]),
    ),
    ShmSize: Math.max(someMemoryBytes, Math.floor(memoryBytes / 8)),
  };
}

const ownPlaces: readonly string[] = [insidePaths.workspace, insidePaths.home];

function limits({ spec: { limits: given }, openFiles }: ContainerPlan): Docker.HostConfig {
  const same = (name: string, value: number) => ({ Name: name, Soft: value, Hard: value });
  return {
    Memory: given.memoryBytes,
    // Without this a sandbox would swap instead of ending.
    MemorySwap: given.memoryBytes,
    PidsLimit: given.processes + overheadProcesses,
    ...(given.cpu > 0 && {
      CpuPeriod: cpuPeriodUs,
      CpuQuota: Math.max(1000, Math.round(given.cpu * cpuPeriodUs)),
    }),
    Ulimits: [
      same('core', 0),
      same('fsize', fileSizeBytes(given)),
      ...(openFiles === undefined ? [] : [same('nofile', openFiles)]),
    ],
  };
}

function mounts({ spec, node, ownDirectory, owner, image }: ContainerPlan): Docker.MountConfig {
  const bind = (readOnly: boolean) => (mount: Mount) => ({
    Type: 'bind' as const,
    Source: mount.source,
    Target: mount.target,
    ReadOnly: readOnly,
  });
  const own = [
    { source: join(spec.directory, 'workspace'), target: insidePaths.workspace },
    { source: join(spec.directory, 'home'), target: insidePaths.home },
    { source: join(ownDirectory, CHANNEL_SOCKET), target: insideSocket },
  ];
  const shown = [{ source: node, target: NODE_ROOT }, ...writeUsers(ownDirectory, owner, image)];
  return [...[...own, ...spec.sockets].map(bind(false)), ...[...shown, ...spec.readOnly].map(bind(true))];
}

function environment({ spec, image }: ContainerPlan): Record<string, string> {
  const path = image.path ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  return {
    ...baseEnv,
    PATH: `${path}:${NODE_ROOT}/bin`,
    ...spec.env,
    [CHANNEL_VARIABLE]: insideSocket,
  };
}
