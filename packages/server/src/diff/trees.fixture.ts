/** For tests: snapshots of described trees, as blobs in memory that count how often they are read. */
import { hash } from 'node:crypto';
import {
  beginsSegment,
  comparePaths,
  encodeRoot,
  encodeSegment,
  type SegmentRef,
  type SnapshotEntry,
} from '@atoll/protocol/snapshot-format';
import type { GetBlob } from './tree.ts';

/** By path (one character per byte), below the workspace; without what leads there. */
export type Described = ReadonlyMap<string, Thing>;
export type Thing =
  | { kind: 'file'; mode: number; content: Uint8Array; mtime?: string }
  | { kind: 'directory'; mode: number }
  | { kind: 'symlink'; target: string }
  /** `target` is a path as the others are. */
  | { kind: 'hardlink'; target: string };

export type MemoryBlobs = { readonly reads: string[]; put(content: Uint8Array): string; get: GetBlob };

export function memoryBlobs(): MemoryBlobs {
  const held = new Map<string, Uint8Array>();
  const reads: string[] = [];
  return {
    reads,
    put(content) {
      const name = hash('sha256', content, 'hex');
      held.set(name, content);
      return name;
    },
    async get(name) {
      reads.push(name);
      const content = held.get(name);
      if (!content) throw new Error(`there is no blob ${name}`);
      return content;
    },
  };
}

/** The hash of its root. `home` is how many files there are beside the workspace. */
export function putTree(blobs: MemoryBlobs, tree: Described, { home = 0 } = {}): string {
  const entries = [...tree].map(([path, thing]) => entryOf(blobs, `workspace/${path}`, thing));
  const file = { kind: 'file', mode: 0o600, content: Buffer.from('at home') } as const;
  for (let i = 0; i < home; i++) entries.push(entryOf(blobs, `home/${i}`, file));
  entries.sort((a, b) => comparePaths(a.path, b.path));
  const segments: SegmentRef[] = [];
  let run: SnapshotEntry[] = [];
  const close = () => {
    const [first] = run;
    if (first) segments.push({ first: first.path, hash: blobs.put(encodeSegment(run)) });
    run = [];
  };
  for (const entry of entries) {
    if (run.length > 0 && beginsSegment(entry.path, run.length)) close();
    run.push(entry);
  }
  close();
  return blobs.put(encodeRoot({ segments, files: entries.length, sizeBytes: 0 }));
}

function entryOf(blobs: MemoryBlobs, path: string, thing: Thing): SnapshotEntry {
  const mtime = '1';
  switch (thing.kind) {
    case 'directory':
      return { kind: 'directory', path, mode: thing.mode, mtime };
    case 'symlink':
      return { kind: 'symlink', path, mtime, target: thing.target };
    case 'hardlink':
      return { kind: 'hardlink', path, target: `workspace/${thing.target}` };
    case 'file': {
      const { mode, content } = thing;
      const half = content.length >> 1;
      const part = (bytes: Uint8Array) => ({ blob: blobs.put(bytes), offset: 0, length: bytes.length });
      const parts =
        content.length === 0 ? [] : [part(content.subarray(0, half)), part(content.subarray(half))];
      const of = { size: content.length, hash: hash('sha256', content, 'hex'), parts };
      return { kind: 'file', path, mode, mtime: thing.mtime ?? mtime, ...of };
    }
  }
}
