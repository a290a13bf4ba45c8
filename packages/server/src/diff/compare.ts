/**
 * Two trees side by side, in the order of their lists. What both have in runs of the same hash is not read, so it costs
 * in proportion to what changed.
 */
import { comparePaths, type SnapshotEntry } from '@atoll/protocol/snapshot-format';
import { type Run, runOf, type Tree } from './tree.ts';

/** What stands at a path on each side, alike or not. */
export type Pair = { path: string; before: SnapshotEntry | undefined; after: SnapshotEntry | undefined };

/** Where in a list the next entry is: its run, and its place in that. */
export type Place = readonly [run: number, entry: number];
export type Places = { from: Place; to: Place };

/** Of both trees, the list of the workspace begins behind this path. */
const TOP = 'workspace/';

export function beginning(from: Tree, to: Tree): Places {
  return { from: [runOf(from, TOP), 0], to: [runOf(to, TOP), 0] };
}

export type Comparison = {
  /** The next pair; undefined when there is none. */
  next(): Promise<Pair | undefined>;
  /** Where the next pair is: another comparison of the same trees may go on there. */
  readonly places: Places;
};

export function compareTrees(from: Tree, to: Tree, places: Places): Comparison {
  const [left, right] = [createReader(from, places.from), createReader(to, places.to)];

  async function next(): Promise<Pair | undefined> {
    while (left.whole !== undefined && left.whole === right.whole) {
      left.skip();
      right.skip();
    }
    const [a, b] = [await left.path(), await right.path()];
    const path = a ?? b;
    if (path === undefined) return undefined;
    const order = a === undefined ? 1 : b === undefined ? -1 : comparePaths(a, b);
    const before = order <= 0 ? await left.take() : undefined;
    const after = order >= 0 ? await right.take() : undefined;
    return { path: order > 0 && b !== undefined ? b : path, before, after };
  }

  return {
    async next() {
      for (let pair = await next(); pair; pair = await next())
        if (comparePaths(pair.path, TOP) > 0) return pair;
      return undefined;
    },
    get places() {
      return { from: left.place, to: right.place };
    },
  };
}

/** Goes through one list, and knows the next path without a look into its run where that is the run's first. */
function createReader(tree: Tree, [run, entry]: Place) {
  let index = run;
  let at = entry;
  let entries: readonly SnapshotEntry[] | undefined;

  const current = (): Run | undefined => tree.runs[index];
  const read = async () => {
    const here = current();
    entries ??= here && (await tree.entries(here));
    return entries;
  };
  const skip = () => {
    index++;
    at = 0;
    entries = undefined;
  };

  return {
    skip,
    get place(): Place {
      return [index, at];
    },
    /** The hash of the run that begins here. */
    get whole(): string | undefined {
      return at === 0 ? current()?.hash : undefined;
    },
    async path(): Promise<string | undefined> {
      return at === 0 ? current()?.first : (await read())?.[at]?.path;
    },
    async take(): Promise<SnapshotEntry | undefined> {
      const all = (await read()) ?? [];
      const taken = all[at++];
      if (at >= all.length) skip();
      return taken;
    },
  };
}

/** Whether somebody who uses the files sees a difference: times do not count. */
export function isChange({ before, after }: Pair): boolean {
  if (before?.kind === 'file')
    return after?.kind !== 'file' || before.hash !== after.hash || before.mode !== after.mode;
  if (before?.kind === 'directory') return after?.kind !== 'directory' || before.mode !== after.mode;
  if (before?.kind === 'symlink') return after?.kind !== 'symlink' || before.target !== after.target;
  if (before?.kind === 'hardlink') return after?.kind !== 'hardlink' || before.target !== after.target;
  return after !== undefined;
}
