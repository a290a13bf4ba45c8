/** Fills a new workspace with its agent's folder, fetched by content hash and verified. */
import { createHash } from 'node:crypto';
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AtollError } from '@atoll/protocol/errors';
import { checkPath } from '@atoll/protocol/paths';
import type { AgentSource } from '@atoll/protocol/runner-link';
import type { SandboxOwner } from './driver.ts';

export type FillOptions = {
  source: AgentSource;
  tenant: string;
  hash: string;
  /** An empty directory that nothing of an agent has seen yet: nothing in it can be a trap. */
  directory: string;
  owner: SandboxOwner;
};

export async function fillWorkspace({ source, tenant, hash, directory, owner }: FillOptions): Promise<void> {
  const manifest = await source.manifest({ tenant, hash });
  const made = new Set<string>();
  for (const { path, hash: fileHash, executable } of manifest.files) {
    checkPath(path);
    await makeParents(directory, dirname(path), made, owner);
    const bytes = await source.file({ tenant, hash: fileHash });
    if (createHash('sha256').update(bytes).digest('hex') !== fileHash)
      throw new AtollError('sandbox_failed', `the agent's file ${path} arrived damaged`);
    const file = join(directory, path);
    await writeFile(file, bytes, { flag: 'wx' });
    // Whatever the umask is.
    await chmod(file, executable ? 0o755 : 0o644);
    if (owner) await chown(file, owner.uid, owner.gid);
  }
}

async function makeParents(
  root: string,
  path: string,
  made: Set<string>,
  owner: SandboxOwner,
): Promise<void> {
  if (path === '.' || made.has(path)) return;
  await makeParents(root, dirname(path), made, owner);
  const directory = join(root, path);
  await mkdir(directory);
  await chmod(directory, 0o755);
  if (owner) await chown(directory, owner.uid, owner.gid);
  made.add(path);
}
