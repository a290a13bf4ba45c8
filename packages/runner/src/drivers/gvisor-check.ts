import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { DriverProblem } from '../driver.ts';
import { describeLimits } from './limits.ts';

const CHECK_MS = 10_000;

/** What keeps gVisor from making sandboxes here, found by making one. */
export async function checkGvisor(platform: string | undefined): Promise<DriverProblem[]> {
  if (process.platform !== 'linux')
    return [{ problem: 'gVisor runs on Linux only.', mend: 'atoll start --driver process' }];
  if (!(await succeeds(['runsc', '--version'])))
    return [{ problem: 'gVisor (runsc) is not installed.', mend: 'apt-get install runsc' }];
  if (process.geteuid?.() !== 0)
    return [{ problem: 'gVisor sandboxes are made by root here.', mend: 'sudo atoll start --driver gvisor' }];
  if ((await describeLimits()).memory === 'watchdog')
    return [
      {
        problem: 'No control group can be used here, and nothing else holds the memory of gVisor.',
        mend: 'systemd-run --scope -p Delegate=yes atoll start --driver gvisor',
      },
    ];
  const flags = ['--network=none', '--ignore-cgroups', ...(platform ? [`--platform=${platform}`] : [])];
  if (await succeeds(['runsc', ...flags, 'do', '/bin/true'])) return [];
  const used = platform ?? 'its own choice of platform';
  return [
    {
      problem: `gVisor does not start a sandbox with ${used}.`,
      mend: `atoll start --driver gvisor --gvisor-platform ${platform === 'ptrace' ? 'systrap' : 'ptrace'}`,
    },
  ];
}

async function succeeds([program = '', ...args]: readonly string[]): Promise<boolean> {
  return promisify(execFile)(program, args, { timeout: CHECK_MS, killSignal: 'SIGKILL' }).then(
    () => true,
    () => false, // Not there, refused, or without an end.
  );
}
