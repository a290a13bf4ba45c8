/**
 * One side of a comparison: the list of a tree in runs, each read when it is needed. Runs with the same hash hold the
 * same entries.
 */
import { comparePaths, decodeRoot, decodeSegment, type SnapshotEntry } from '@atoll/protocol/snapshot-format';

export type Tree = {
  readonly runs: readonly Run[];
  /** Never empty. */
  entries(run: Run): Promise<readonly SnapshotEntry[]>;
};

/** `first` is the path of its first entry. */
export type Run = { first: string; hash: string };

export type GetBlob = (hash: string) => Promise<Uint8Array>;

export async function snapshotTree(root: string, get: GetBlob): Promise<Tree> {
  const { segments } = decodeRoot(await get(root));
  return { runs: segments, entries: async ({ hash }) => decodeSegment(await get(hash)) };
}

/** The last run that may hold the path, or what comes behind it; 0 when all of them come behind. */
export function runOf({ runs }: Tree, path: string): number {
  let [low, high] = [0, runs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (comparePaths(runs[middle]?.first ?? '', path) <= 0) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

export async function entryAt(tree: Tree, path: string): Promise<SnapshotEntry | undefined> {
  const run = tree.runs[runOf(tree, path)];
  return run && (await tree.entries(run)).find((entry) => entry.path === path);
}
