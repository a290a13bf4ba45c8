/** Which agent the editor's new sessions are with. */
import { existsSync, statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { AtollError } from '@atoll/protocol/errors';
import { readAgentFolder } from '../agent-folder.ts';
import type { Platform } from '../platform.ts';

export type ChooseAgent = () => Promise<string>;

/**
 * A folder is deployed for each new session, so that what was changed in it counts; a name is one that is deployed.
 * Without either it is the only agent that there is.
 */
export function createChooseAgent(platform: Platform, given: string | undefined): ChooseAgent {
  return async () => {
    if (given === undefined) return onlyAgent(platform);
    if (!isFolder(given)) return given;
    const name = basename(resolve(given)).toLowerCase();
    const files = await readAgentFolder(resolve(given));
    await platform.call('agent.deploy', { name, files });
    return name;
  };
}

/** A word without a slash is a name, unless nothing but a folder could be meant. */
function isFolder(given: string): boolean {
  if (given === '.' || given === '..' || given.includes('/')) return true;
  return /[^a-z0-9._-]/.test(given) && existsSync(given) && statSync(given).isDirectory();
}

async function onlyAgent(platform: Platform): Promise<string> {
  const { agents } = await platform.call('agent.list', { limit: 20 });
  const [only] = agents;
  if (only !== undefined && agents.length === 1) return only.name;
  const there =
    agents.length === 0 ? 'none is deployed' : `there are ${agents.map(({ name }) => name).join(', ')}`;
  throw new AtollError('not_found', `name an agent, or its folder, with --agent: ${there}`);
}
