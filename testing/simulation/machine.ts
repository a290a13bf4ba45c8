/**
 * The host of a simulated runner: its workspaces, which outlive it, in the place of directories; and what of them is kept
 * in snapshots. A workspace holds how often somebody worked on it, which is enough to tell an older one from a newer.
 */
import { AtollError } from '@atoll/protocol/errors';
import type { SnapshotBlobs } from '@atoll/protocol/runner-link';
import type { Machine } from './product.ts';
import type { Place } from './sandboxes.ts';
import type { World } from './world.ts';

/** `epoch`: of the assignment that worked on it last. */
type Workspace = { works: number; epoch: number | undefined };
export type Disk = Map<string, Workspace>;

const nothingSkipped = { count: 0, first: [] };

export function createMachine(
  { agenda, chance }: World,
  { disk, runner, noted }: { disk: Disk; runner: string; noted: Map<string, Place> },
): Machine {
  const pause = () =>
    new Promise<void>((resolve) => void agenda.after(chance.between(0, 30), agenda.life, resolve));
  const refuse = () => Promise.reject(new AtollError('not_found', 'there are no files here'));

  return {
    prepareDirectories: async () => undefined,
    createWorkspaces: ({ root }) => ({
      directory: (id) => `${root}/${id}`,
      ids: async () => [...disk.keys()],
      has: (id) => disk.has(id),
      async create(id) {
        await pause();
        disk.set(id, { works: 0, epoch: undefined });
        return undefined;
      },
      async existing(id) {
        if (!disk.has(id))
          throw new AtollError('sandbox_failed', 'the workspace is no longer on this runner');
        return undefined;
      },
      async remove(id) {
        await pause();
        disk.delete(id);
      },
      files: { read: refuse, write: refuse, remove: refuse, list: refuse },
    }),
    createWorkspaceSnapshots: ({ blobs, workspaces }) => ({
      async take({ workspaceId, tenant, base }, sandbox) {
        const workspace = disk.get(workspaceId);
        if (!workspace) throw new AtollError('snapshot_failed', 'the workspace is not on this runner');
        await pause();
        await sandbox?.freeze('snapshot');
        try {
          const root = await blobs.put({ tenant, content: contentOf(workspaceId, workspace) });
          const storedBytes = root === base ? 0 : 1;
          return { root, files: 1, sizeBytes: 1, storedBytes, skipped: nothingSkipped };
        } finally {
          await sandbox?.thaw('snapshot');
        }
      },
      async ready({ workspaceId, tenant, snapshot }) {
        const here = disk.get(workspaceId);
        if (snapshot && !(here?.epoch !== undefined && here.epoch >= snapshot.epoch)) {
          const { works } = await restored(blobs, tenant, snapshot.root);
          disk.set(workspaceId, { works, epoch: snapshot.epoch });
        }
        return workspaces.existing(workspaceId);
      },
      async assigned(workspaceId, epoch) {
        await pause();
        const workspace = disk.get(workspaceId);
        if (workspace) disk.set(workspaceId, { works: workspace.works + 1, epoch });
      },
      settled: async () => undefined,
      forget: async () => undefined,
      sweep: async () => undefined,
      close: async () => undefined,
    }),
    async fillWorkspace({ source, tenant, hash }) {
      for (const file of (await source.manifest({ tenant, hash })).files)
        await source.file({ tenant, hash: file.hash });
    },
    async openGateway({ sandbox, epoch, mayAct = () => true }) {
      const session = sandbox.sessionId ?? null;
      noted.set(sandbox.id, { of: { runner, sandbox: sandbox.id, session, epoch }, mayAct });
      return {
        ...{ url: 'http://gateway', env: {}, bridgeEnv: {}, sockets: [], readOnly: [] },
        listenOn: async () => undefined,
        open: () => undefined,
        close: pause,
      };
    },
  };
}

function contentOf(workspaceId: string, { works }: Workspace): Uint8Array {
  return Buffer.from(JSON.stringify({ workspaceId, works }));
}

async function restored(blobs: SnapshotBlobs, tenant: string, root: string): Promise<{ works: number }> {
  const content = await blobs.get({ tenant, hash: root });
  return JSON.parse(Buffer.from(content).toString()) as { works: number };
}
