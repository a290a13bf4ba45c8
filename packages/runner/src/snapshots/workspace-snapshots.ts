/**
 * Snapshots of this runner's workspaces: taken while the processes that work there stand still, and put back.
 *
 * What is on this runner counts as long as it is not older than the snapshot: each assignment writes its epoch beside
 * the workspace, and one whose files were not put in place to the end has none.
 */
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { SnapshotBlobs, SnapshotSource, TakenSnapshot, TakeSnapshot } from '@atoll/protocol/runner-link';
import type { SandboxOwner } from '../driver.ts';
import type { Sandbox } from '../sandbox.ts';
import type { Workspaces } from '../workspaces.ts';
import type { KnownTree } from './known-tree.ts';
import { replaceFile } from './replace-file.ts';
import { type Scanned, scan } from './scan.ts';
import { createSnapshotThread } from './snapshot-thread.ts';
import type { ScanAnswer } from './thread-messages.ts';

export type WorkspaceSnapshots = {
  /** `sandbox` works there. Rejects as RunnerLink.snapshot does. */
  take(request: TakeSnapshot, sandbox: Standstill | undefined): Promise<TakenSnapshot>;
  /** The workspace as it is here, or else from the snapshot. Rejects with `sandbox_failed` when there is neither. */
  ready(request: {
    workspaceId: string;
    tenant: string;
    snapshot: SnapshotSource | undefined;
  }): Promise<SandboxOwner>;
  /** That assignment's sandbox may change the files from now on. */
  assigned(workspaceId: string, epoch: number): Promise<void>;
  /** Resolves when nothing of ours reads or writes there. With `stop`, that is soon. */
  settled(workspaceId: string, options?: { stop: boolean }): Promise<void>;
  forget(workspaceId: string): Promise<void>;
  /** Removes what is kept beside workspaces that are not here. */
  sweep(): Promise<void>;
  close(): Promise<void>;
};

export type Standstill = Pick<Sandbox, 'freeze' | 'thaw' | 'end'>;

/** A turn waits for it, and so does who asked. */
const MAX_TAKING_MS = 120_000;
const GO_ON_TRIES = 5;
const GO_ON_AGAIN_MS = 100;
/** What was written just before is read again, which may be too much for the event loop. */
const MAX_READ_HERE = 64 * 1024;
/** Files may be read that use no disk: sparse ones. */
const MAX_SPARSENESS = 4;

export function createWorkspaceSnapshots(options: {
  /** For what is kept beside workspaces. */
  directory: string;
  workspaces: Workspaces;
  blobs: SnapshotBlobs;
  diskBytes: (workspaceId: string) => number;
}): WorkspaceSnapshots {
  const { directory, workspaces, blobs, diskBytes } = options;
  const thread = createSnapshotThread({ directory, blobs });
  const underWay = new Map<string, { over: Promise<unknown>; stop: AbortController }>();
  /** Of those that were looked through since the start. */
  const smallTrees = new Map<string, KnownTree>();
  const epochFile = (workspaceId: string) => join(directory, `${workspaceId}.epoch`);

  /** One at a time for a workspace. */
  async function alone<T>(workspaceId: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    while (underWay.has(workspaceId)) await settled(workspaceId);
    const stop = new AbortController();
    const over = work(stop.signal);
    const entry = { over: over.catch(() => undefined), stop };
    underWay.set(workspaceId, entry);
    return over.finally(() => {
      if (underWay.get(workspaceId) === entry) underWay.delete(workspaceId);
    });
  }

  async function settled(workspaceId: string, { stop = false } = {}): Promise<void> {
    for (let entry = underWay.get(workspaceId); entry; entry = underWay.get(workspaceId)) {
      if (stop) entry.stop.abort(new AtollError('snapshot_failed', 'The workspace was removed meanwhile.'));
      await entry.over;
    }
  }

  function take(request: TakeSnapshot, sandbox: Standstill | undefined): Promise<TakenSnapshot> {
    const { workspaceId, tenant, base, passing = false } = request;
    return alone(workspaceId, async (stopped) => {
      if (!workspaces.has(workspaceId))
        throw new AtollError('snapshot_failed', 'the workspace is not on this runner');
      using deadline = newDeadline();
      const signal = AbortSignal.any([stopped, deadline.signal]);
      const of = { workspaceId, tenant, base, signal, directory: workspaces.directory(workspaceId) };
      const maxBytes = diskBytes(workspaceId) * MAX_SPARSENESS;
      const small = smallTrees.get(workspaceId);
      const unchanged = await (small?.root === base
        ? lookHere(of.directory, small)
        : thread.scan({ ...of, maxBytes, onlyIfSame: true }));
      if (unchanged) return remembered(workspaceId, unchanged);
      const store = () => thread.scan({ ...of, maxBytes, onlyIfSame: false, passing });
      const scanned = await (sandbox && !passing ? whileFrozen(sandbox, store) : store());
      if (!scanned) throw new AtollError('internal', 'a scan that stores had no result');
      return passing ? scanned.taken : remembered(workspaceId, scanned);
    });
  }

  function remembered(workspaceId: string, { taken, tree }: ScanAnswer): TakenSnapshot {
    if (tree) smallTrees.set(workspaceId, tree);
    else smallTrees.delete(workspaceId);
    return taken;
  }

  async function ready({
    workspaceId,
    tenant,
    snapshot,
  }: {
    workspaceId: string;
    tenant: string;
    snapshot: SnapshotSource | undefined;
  }): Promise<SandboxOwner> {
    return alone(workspaceId, async (signal) => {
      // Whoever was before may have put them there.
      if (snapshot === undefined || (await isAsNew(workspaceId, snapshot.epoch)))
        return workspaces.existing(workspaceId);
      await forget(workspaceId);
      const owner = await workspaces.create(workspaceId);
      const { root, epoch } = snapshot;
      const of = { workspaceId, directory: workspaces.directory(workspaceId) };
      try {
        await thread.rebuild({ ...of, tenant, root, owner, signal });
      } catch (error) {
        await workspaces.remove(workspaceId);
        throw error;
      }
      await assigned(workspaceId, epoch);
      return owner;
    });
  }

  async function isAsNew(workspaceId: string, epoch: number): Promise<boolean> {
    const written = await readFile(epochFile(workspaceId), 'utf8').catch(() => '');
    return /^\d+$/.test(written) && Number(written) >= epoch && workspaces.has(workspaceId);
  }

  function assigned(workspaceId: string, epoch: number): Promise<void> {
    return replaceFile(epochFile(workspaceId), String(epoch));
  }

  async function forget(workspaceId: string): Promise<void> {
    smallTrees.delete(workspaceId);
    await Promise.all([rm(epochFile(workspaceId), { force: true }), thread.forget(workspaceId)]);
  }

  async function sweep(): Promise<void> {
    const names = await readdir(directory).catch(() => []); // Nothing was ever kept here.
    const here = new Set(await workspaces.ids());
    const left = names.filter((name) => !here.has(name.split('.')[0] ?? ''));
    await Promise.all(left.map((name) => rm(join(directory, name), { force: true })));
  }

  return { take, ready, assigned, settled, forget, sweep, close: () => thread.close() };
}

/** As the thread does, without the way there. Undefined also when this is not the place to find out. */
async function lookHere(directory: string, known: KnownTree): Promise<Scanned | undefined> {
  const never = async () => {
    throw new AtollError('internal', 'a look stores nothing');
  };
  const look = { directory, known, put: never, maxBytes: MAX_READ_HERE, onlyIfSame: true };
  return scan({ ...look, breathe: async () => undefined }).catch(() => undefined);
}

async function whileFrozen<T>(sandbox: Standstill, work: () => Promise<T>): Promise<T> {
  try {
    await sandbox.freeze('snapshot').catch((cause: unknown) => {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new AtollError('snapshot_failed', `Its processes could not be made to stand still: ${reason}.`, {
        cause,
      });
    });
    return await work();
  } finally {
    await goOn(sandbox);
  }
}

/** It must not stand still for good: where it cannot be told to go on, it ends. */
async function goOn(sandbox: Standstill): Promise<void> {
  for (let left = GO_ON_TRIES; ; left--) {
    try {
      return await sandbox.thaw('snapshot');
    } catch (error) {
      if (left > 1) await delay(GO_ON_AGAIN_MS);
      else {
        void sandbox.end('ended');
        throw error;
      }
    }
  }
}

function newDeadline(): Disposable & { readonly signal: AbortSignal } {
  const late = new AbortController();
  const why = `It took longer than ${MAX_TAKING_MS / 1000} s.`;
  const timer = setTimeout(() => late.abort(new AtollError('snapshot_failed', why)), MAX_TAKING_MS);
  return { signal: late.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}
