/** An agent's folder as the list that a snapshot would have of it, before anything ran there. */
import type { AgentManifest } from '@atoll/protocol/runner-link';
import { createExcludes, IGNORE_FILE, MAX_IGNORE_BYTES } from '@atoll/protocol/snapshot-excludes';
import { comparePaths, type SnapshotEntry } from '@atoll/protocol/snapshot-format';
import type { GetBlob, Tree } from './tree.ts';

const NEVER = '0';

export async function agentTree(manifestHash: string, get: GetBlob): Promise<Tree> {
  const manifest = JSON.parse(Buffer.from(await get(manifestHash)).toString()) as AgentManifest;
  const excludes = createExcludes(await ignoredIn(manifest, get));
  const left = new Set<string>();
  const isLeft = (path: string, isDirectory: boolean): boolean => {
    const parent = path.slice(0, path.lastIndexOf('/'));
    return left.has(parent) || excludes(path, isDirectory);
  };
  const entries = entriesOf(manifest)
    .toSorted((a, b) => comparePaths(a.path, b.path))
    .filter(({ kind, path }) => {
      if (isLeft(path, kind === 'directory')) left.add(path);
      return !left.has(path);
    });
  const [first] = entries;
  const runs = first === undefined ? [] : [{ first: first.path, hash: manifestHash }];
  return { runs, entries: async () => entries };
}

function entriesOf({ files }: AgentManifest): SnapshotEntry[] {
  const directories = new Set(files.flatMap(({ path }) => parentsOf(path)));
  return [
    ...[...directories].map(
      (path) => ({ kind: 'directory', path: listed(path), mode: 0o755, mtime: NEVER }) as const,
    ),
    ...files.map(({ path, hash, sizeBytes: size, executable }) => {
      const parts = [{ blob: hash, offset: 0, length: size }];
      const mode = executable ? 0o755 : 0o644;
      return { kind: 'file', path: listed(path), mode, mtime: NEVER, size, hash, parts } as const;
    }),
  ];
}

function parentsOf(path: string): string[] {
  const names = path.split('/').slice(0, -1);
  return names.map((_, depth) => names.slice(0, depth + 1).join('/'));
}

/** One character per byte. */
function listed(path: string): string {
  return `workspace/${Buffer.from(path).toString('latin1')}`;
}

async function ignoredIn({ files }: AgentManifest, get: GetBlob): Promise<string> {
  const file = files.find(({ path }) => path === IGNORE_FILE);
  return file === undefined ? '' : Buffer.from(await get(file.hash)).toString('latin1', 0, MAX_IGNORE_BYTES);
}
