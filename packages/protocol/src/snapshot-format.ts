/**
 * What a snapshot is made of, as blobs by the SHA-256 of their content:
 *
 *   root      lists the segments of one sorted list of everything in `workspace/` and `home/`
 *   segment   a run of that list (JSON). Where one ends follows from the paths alone, so that a change rewrites the
 *             segments it lies in and no other
 *   pack      bytes of files, one behind the other; a file is parts of packs, and what is not in a part is zero
 *
 * A path is a string with one character per byte, since names on disk need not be UTF-8. Times are nanoseconds since
 * 1970, in decimal.
 */
import * as v from 'valibot';

export type SnapshotRoot = {
  segments: readonly SegmentRef[];
  files: number;
  sizeBytes: number;
};

/** `first` is the path of its first entry. */
export type SegmentRef = { first: string; hash: string };

export type SnapshotEntry =
  | { kind: 'directory'; path: string; mode: number; mtime: string }
  | FileEntry
  | { kind: 'symlink'; path: string; mtime: string; target: string }
  /** Another name of the file at `target`, which comes before it. */
  | { kind: 'hardlink'; path: string; target: string };

export type FileEntry = {
  kind: 'file';
  path: string;
  mode: number;
  mtime: string;
  size: number;
  /** Of its whole content. */
  hash: string;
  parts: readonly Part[];
};

/** `length` bytes of the file from where the part before it ended; `blob` null: zeros. */
export type Part = { blob: string | null; offset: number; length: number };

/** A run ends before a path that says so, once it is this long; and at the latest at this length. */
const MIN_RUN = 32;
const MAX_RUN = 512;
const CUT_MASK = 0x7f;

export function beginsSegment(path: string, runLength: number): boolean {
  return runLength >= MAX_RUN || (runLength >= MIN_RUN && (hashOf(path) & CUT_MASK) === 0);
}

/** FNV-1a, with its upper bits mixed into the lower ones. */
function hashOf(path: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < path.length; i++) hash = Math.imul(hash ^ path.charCodeAt(i), 0x01000193);
  return hash ^ (hash >>> 15);
}

/** The order of the list: a directory, then what is in it, then what comes after it. */
export function comparePaths(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [left, right] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (left !== right) return left === SLASH ? -1 : right === SLASH ? 1 : left - right;
  }
  return a.length - b.length;
}

const SLASH = 0x2f;

export function encodeRoot({ segments, files, sizeBytes }: SnapshotRoot): Uint8Array {
  const list = segments.map(({ first, hash }) => [first, hash]);
  return new TextEncoder().encode(JSON.stringify({ format: 1, files, sizeBytes, segments: list }));
}

export function encodeSegment(entries: readonly SnapshotEntry[]): Uint8Array {
  const blobs = new Map<string, number>();
  const indexOf = (blob: string | null): number => {
    if (blob === null) return ZEROS;
    const index = blobs.get(blob) ?? blobs.size;
    blobs.set(blob, index);
    return index;
  };
  const list = entries.map((entry) => toTuple(entry, indexOf));
  return new TextEncoder().encode(JSON.stringify({ blobs: [...blobs.keys()], entries: list }));
}

function toTuple(entry: SnapshotEntry, indexOf: (blob: string | null) => number): readonly unknown[] {
  switch (entry.kind) {
    case 'directory':
      return ['d', entry.path, entry.mode, entry.mtime];
    case 'symlink':
      return ['l', entry.path, entry.mtime, entry.target];
    case 'hardlink':
      return ['h', entry.path, entry.target];
    case 'file': {
      const parts = entry.parts.map(({ blob, offset, length }) => [indexOf(blob), offset, length]);
      return ['f', entry.path, entry.mode, entry.mtime, entry.size, entry.hash, parts];
    }
  }
}

/** Stands for the blob of a part that is zeros. */
const ZEROS = -1;

const hash = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const mode = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0o1777));
const amount = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER));
const time = v.pipe(v.string(), v.regex(/^-?\d{1,19}$/));
/** Below one of the two directories, and no step of it leads anywhere else. */
const path = v.pipe(
  v.string(),
  v.regex(/^(?:workspace|home)(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+)+$/s, 'must be a path in a snapshot'),
);
const target = v.pipe(
  v.string(),
  v.minLength(1),
  v.check((value) => !value.includes('\0')),
);

const rootSchema = v.object({
  format: v.literal(1),
  files: amount,
  sizeBytes: amount,
  segments: v.array(v.tuple([v.string(), hash])),
});

const partTuple = v.tuple([v.pipe(v.number(), v.integer(), v.minValue(ZEROS)), amount, amount]);
const entryTuple = v.union([
  v.tuple([v.literal('f'), path, mode, time, amount, hash, v.array(partTuple)]),
  v.tuple([v.literal('d'), path, mode, time]),
  v.tuple([v.literal('l'), path, time, target]),
  v.tuple([v.literal('h'), path, path]),
]);
const segmentSchema = v.object({ blobs: v.array(hash), entries: v.array(entryTuple) });

/** Throws when the bytes are no root. */
export function decodeRoot(bytes: Uint8Array): SnapshotRoot {
  const { files, sizeBytes, segments } = v.parse(rootSchema, parseJson(bytes));
  return { files, sizeBytes, segments: segments.map(([first, of]) => ({ first, hash: of })) };
}

/** Throws when the bytes are no segment. */
export function decodeSegment(bytes: Uint8Array): SnapshotEntry[] {
  const { blobs, entries } = v.parse(segmentSchema, parseJson(bytes));
  return entries.map((entry) => fromTuple(entry, blobs));
}

function fromTuple(entry: v.InferOutput<typeof entryTuple>, blobs: readonly string[]): SnapshotEntry {
  switch (entry[0]) {
    case 'd':
      return { kind: 'directory', path: entry[1], mode: entry[2], mtime: entry[3] };
    case 'l':
      return { kind: 'symlink', path: entry[1], mtime: entry[2], target: entry[3] };
    case 'h':
      return { kind: 'hardlink', path: entry[1], target: entry[2] };
    case 'f': {
      const [, of, bits, mtime, size, content, parts] = entry;
      return {
        kind: 'file',
        path: of,
        mode: bits,
        mtime,
        size,
        hash: content,
        parts: parts.map((part) => toPart(part, blobs)),
      };
    }
  }
}

function toPart([index, offset, length]: readonly [number, number, number], blobs: readonly string[]): Part {
  const blob = index === ZEROS ? null : blobs[index];
  if (blob === undefined) throw new Error(`there is no blob ${index} in the segment`);
  return { blob, offset, length };
}

/** The blobs that a segment's files are made of, without a look at anything else in it. */
export function blobsOfSegment(bytes: Uint8Array): readonly string[] {
  return v.parse(v.object({ blobs: v.array(hash) }), parseJson(bytes)).blobs;
}

function parseJson(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
}
