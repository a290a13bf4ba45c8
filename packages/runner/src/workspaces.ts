/** The workspaces on this runner: a directory each, made and removed by the driver, with its files served to outside. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AtollError } from '@atoll/protocol/errors';
import type { SandboxFiles } from '@atoll/protocol/runner-link';
import type { Driver, SandboxOwner } from './driver.ts';
import { diskUsage } from './drivers/disk-usage.ts';
import { createWorkspaceFiles, type WorkspaceFiles } from './workspace.ts';

export type Workspaces = {
  directory(id: string): string;
  ids(): Promise<string[]>;
  has(id: string): boolean;
  /** A new, empty one; what an earlier attempt left under this id is removed. */
  create(id: string): Promise<SandboxOwner>;
  /** Rejects with `sandbox_failed` when it is not here. */
  existing(id: string): Promise<SandboxOwner>;
  remove(id: string): Promise<void>;
  readonly files: SandboxFiles;
};

const ID = /^[a-z]+_[0-9a-z]+$/;

export type WorkspacesOptions = {
  root: string;
  driver: Driver;
  /** How much a workspace may hold. */
  diskBytes: (id: string) => number;
};

export function createWorkspaces({ root, driver, diskBytes }: WorkspacesOptions): Workspaces {
  function directory(id: string): string {
    if (!ID.test(id)) throw new AtollError('invalid_request', 'not a workspace id');
    return join(root, id);
  }

  async function create(id: string): Promise<SandboxOwner> {
    await driver.remove(directory(id));
    return driver.prepare(directory(id));
  }

  function has(id: string): boolean {
    return existsSync(join(directory(id), 'workspace'));
  }

  async function existing(id: string): Promise<SandboxOwner> {
    if (!has(id)) throw new AtollError('sandbox_failed', 'the workspace is no longer on this runner');
    return driver.prepare(directory(id));
  }

  async function open(id: string): Promise<WorkspaceFiles> {
    const owner = await existing(id);
    return createWorkspaceFiles({ root: join(directory(id), 'workspace'), owner, insideRoot: '/workspace' });
  }

  const files: SandboxFiles = {
    async read({ workspaceId, path, range }) {
      const { sizeBytes, contentBytes, mtime, stream } = await (await open(workspaceId)).openRead(
        path,
        range,
      );
      return { sizeBytes, contentBytes, modifiedAt: mtime.toISOString(), content: stream };
    },
    async write({ workspaceId, path, content }) {
      const workspace = await open(workspaceId);
      const used = await diskUsage([directory(workspaceId)]);
      return workspace.write(path, content, { maxBytes: Math.max(0, diskBytes(workspaceId) - used) });
    },
    remove: async ({ workspaceId, path }) => (await open(workspaceId)).remove(path),
    async list({ workspaceId, prefix, ...page }) {
      const { files: entries, nextCursor = null } = await (await open(workspaceId)).list(prefix, page);
      return { files: entries, nextCursor };
    },
  };

  return {
    directory,
    ids: async () => (await readdir(root)).filter((name) => ID.test(name)),
    has,
    create,
    existing,
    remove: (id) => driver.remove(directory(id)),
    files,
  };
}
