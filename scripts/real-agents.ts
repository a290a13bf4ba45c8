/** Installs what `*.agents.test.ts` run, once. Without their own install scripts: nothing of them has to be built. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { realAgentsDirectory } from '../testing/real-agents.ts';

export const NEEDS_REAL_AGENTS = '.agents.test.ts';

/** A machine that cannot reach the registry goes on without them; the tests that need them say so. */
export function installRealAgents(): void {
  if (isInstalled()) return;
  console.error('Installing the agents that tests run, in testing/real-agents (npm ci, about 1 GB, once).');
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const { status } = spawnSync('npm', args, {
    cwd: realAgentsDirectory,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status !== 0) console.error('They could not be installed; what npm said stands above.');
}

/** npm writes the list of what it installed when it is done. */
function isInstalled(): boolean {
  const wanted = packagesIn('package-lock.json');
  const installed = packagesIn('node_modules/.package-lock.json');
  if (wanted === undefined || installed === undefined) return false;
  return Object.entries(wanted).every(([path, { version, optional, peer }]) => {
    const present = installed[path];
    return path === '' || (present === undefined ? Boolean(optional || peer) : present.version === version);
  });
}

type Locked = { version?: string; optional?: boolean; peer?: boolean };

function packagesIn(lock: string): Record<string, Locked> | undefined {
  try {
    return JSON.parse(readFileSync(join(realAgentsDirectory, lock), 'utf8')).packages;
  } catch {
    // Missing or cut short: not installed, which is what the caller finds out.
    return undefined;
  }
}
