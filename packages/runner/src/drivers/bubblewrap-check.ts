import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { DriverProblem } from '../driver.ts';

/** What keeps bubblewrap from making sandboxes here, found by making one. `uid`: whom root would start it as. */
export async function checkBubblewrap(uid: number | undefined): Promise<DriverProblem[]> {
  if (process.platform !== 'linux') {
    return [{ problem: 'bubblewrap runs on Linux only.', mend: 'atoll start --driver process' }];
  }
  const namespaces = ['--unshare-all', '--ro-bind', '/', '/', '--proc', '/proc', '--dev', '/dev', 'true'];
  // What works needs no reason: the tools are looked for only to say why it does not.
  if (await succeeds('bwrap', namespaces, uid)) return [];
  const missing = await missingTools();
  if (missing.length > 0) return missing;
  return [{ problem: 'This user may not make namespaces.', mend: namespaceMend() }];
}

async function missingTools(): Promise<DriverProblem[]> {
  const tools = [
    { program: 'bwrap', name: 'bubblewrap', mend: 'apt-get install bubblewrap' },
    { program: 'unshare', name: 'unshare', mend: 'apt-get install util-linux' },
    { program: 'nsenter', name: 'nsenter', mend: 'apt-get install util-linux' },
  ];
  const found = await Promise.all(tools.map(({ program }) => succeeds(program, ['--version'])));
  return tools
    .filter((_, index) => !found[index])
    .map(({ name, mend }) => ({ problem: `${name} is not installed.`, mend }));
}

function namespaceMend(): string {
  const switches = [
    ['kernel/apparmor_restrict_unprivileged_userns', '1', '0'],
    ['kernel/unprivileged_userns_clone', '0', '1'],
    ['user/max_user_namespaces', '0', '15000'],
  ] as const;
  const closed = switches.find(([name, value]) => readSwitch(name) === value);
  if (closed) return `sysctl -w ${closed[0].replaceAll('/', '.')}=${closed[2]}`;
  return 'docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined …';
}

function readSwitch(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${name}`, 'latin1').trim();
  } catch {
    return undefined; // This kernel has no such switch.
  }
}

async function succeeds(program: string, args: readonly string[], uid?: number): Promise<boolean> {
  const child = spawn(program, args, { stdio: 'ignore', ...(uid !== undefined && { uid, gid: uid }) });
  try {
    const [code] = await once(child, 'exit');
    return code === 0;
  } catch {
    return false; // Not there to be run.
  }
}
