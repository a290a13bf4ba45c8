import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, createClient } from '@atoll/client';
import { isLoopbackUrl } from '@atoll/protocol/loopback';
import { codeOf, SetupError, UsageError } from './failure.ts';
import type { Config } from './settings.ts';

export const ADMIN_KEY_FILE = 'admin.key';

/** The client for the server and key that the settings name. */
export function connect(config: Config): Client {
  return createClient({ url: config.server, key: keyFor(config) });
}

/** The admin key of a server on this machine is offered to no other machine. */
export function keyFor({ server, key, dataDir }: Config): string | undefined {
  if (!URL.canParse(server)) throw new UsageError(`--server ${server} is not a URL`);
  return key ?? (isLoopbackUrl(server) ? readAdminKey(dataDir) : undefined);
}

function readAdminKey(dataDir: string): string | undefined {
  const path = join(dataDir, ADMIN_KEY_FILE);
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    const code = codeOf(error);
    // No key is for the server to judge: it may be up with another data directory, or not at all.
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code === 'EACCES')
      throw new SetupError(`cannot read ${path}: it belongs to another user. Give a key with --key.`);
    throw error;
  }
}
