/** The list of a snapshot on its way into segments. Those of the last snapshot are not stored again. */
import { hash } from 'node:crypto';
import {
  beginsSegment,
  encodeRoot,
  encodeSegment,
  type SegmentRef,
  type SnapshotEntry,
} from '@atoll/protocol/snapshot-format';
import type { Packs, Putting } from './putting.ts';

export type Segments = {
  /** In order. */
  add(entry: SnapshotEntry): Promise<void>;
  /** What is added next differs from the last snapshot, or something that was before it there is gone. */
  differs(): void;
  /** The root, stored with everything that it leads to. */
  finish(sizes: { files: number; sizeBytes: number }): Promise<{ root: string; segments: SegmentRef[] }>;
};

export function createSegments(options: {
  before: readonly SegmentRef[];
  packs: Packs;
  putting: Putting;
}): Segments {
  const { before, packs, putting } = options;
  const known = new Set(before.map((segment) => segment.hash));
  const knownByFirst = new Map(before.map((segment) => [segment.first, segment]));
  const segments: SegmentRef[] = [];
  let run: SnapshotEntry[] = [];
  /** Something did in the run, or between it and what comes next. */
  let runDiffers = false;
  let nextDiffers = false;

  async function close(): Promise<void> {
    const first = run[0]?.path;
    if (first === undefined) return;
    const same = runDiffers || nextDiffers ? undefined : knownByFirst.get(first);
    segments.push(same ?? { first, hash: await store() });
    run = [];
    runDiffers = false;
  }

  async function store(): Promise<string> {
    await packs.flush();
    const content = encodeSegment(run);
    const name = hash('sha256', content, 'hex');
    if (!known.has(name)) await putting.put(content, name);
    return name;
  }

  return {
    async add(entry) {
      if (run.length > 0 && beginsSegment(entry.path, run.length)) await close();
      run.push(entry);
      runDiffers ||= nextDiffers;
      nextDiffers = false;
    },
    differs() {
      nextDiffers = true;
    },
    async finish(sizes) {
      await close();
      const root = await putting.put(encodeRoot({ segments, ...sizes }));
      await putting.finish();
      return { root, segments };
    },
  };
}
