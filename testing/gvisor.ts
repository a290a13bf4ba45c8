/** Whether tests can make sandboxes with gVisor here, and how. */
import { spawnSync } from 'node:child_process';

/** It needs nothing of the machine, and is in every release. */
export const gvisorPlatform = 'ptrace';

/** For the `skip` of a test: why it cannot run, if it cannot. In CI that is no reason: what is missing there is a fault. */
export function missingGvisor(): string | false {
  const installed = spawnSync('runsc', ['--version']).status === 0;
  if (installed && process.getuid?.() === 0) return false;
  const reason = installed ? 'gVisor is tested as root' : 'no gVisor: apt-get install runsc';
  if (process.env.CI !== undefined) throw new Error(reason);
  return reason;
}
