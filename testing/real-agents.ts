/**
 * Agents of other makers, as they are installed in testing/real-agents: large, so `npm test` installs them when a test
 * that needs them is to run (scripts/real-agents.ts), and a newcomer's first command does not.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const realAgentsDirectory = fileURLToPath(new URL('real-agents', import.meta.url));
const modules = join(realAgentsDirectory, 'node_modules');

export type RealAgent = { command: readonly string[]; mounts: readonly string[] };

/** What starts it, and what of the machine it needs to see; undefined when it is not installed. */
export function claudeAgentAcp(): RealAgent | undefined {
  const main = join(modules, '@agentclientprotocol/claude-agent-acp/dist/index.js');
  return existsSync(main) ? { command: ['node', main], mounts: [modules] } : undefined;
}

/** Its package's own script would only copy the binary that fits; this chooses it. */
export function opencode(): RealAgent | undefined {
  const names = [`opencode-linux-${process.arch}`, `opencode-linux-${process.arch}-baseline`];
  const fitting = hasAvx2() ? names : names.reverse();
  const binary = fitting.map((name) => join(modules, name, 'bin/opencode')).find(existsSync);
  return binary === undefined ? undefined : { command: [binary, 'acp'], mounts: [binary] };
}

/** For NODE_PATH: Codex is then found as if it were installed beside Atoll. undefined when it is not installed. */
export function codexModules(): string | undefined {
  return existsSync(join(modules, `@openai/codex-linux-${process.arch}`)) ? modules : undefined;
}

/**
 * For the `skip` of a test: why it cannot run, if it cannot. In CI that is no reason: what is missing there is a fault.
 */
export function missing(agent: RealAgent | string | undefined): string | false {
  if (agent !== undefined) return false;
  const reason = 'not installed: npm ci --ignore-scripts --prefix testing/real-agents';
  if (process.env.CI !== undefined) throw new Error(`a real agent is ${reason}`);
  return reason;
}

function hasAvx2(): boolean {
  return process.arch !== 'x64' || readFileSync('/proc/cpuinfo', 'latin1').includes(' avx2');
}
