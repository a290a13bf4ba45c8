import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import type { KnownTree } from './known-tree.ts';
import { rebuild } from './rebuild.ts';
import { type Scanned, scan } from './scan.ts';
import { breathe, describeTree, type MemoryBlobs, memoryBlobs, places } from './trees.fixture.ts';

const { root, newPlace } = places('trees');
const maxBytes = 1024 ** 3;

async function take(directory: string, blobs: MemoryBlobs, known?: KnownTree): Promise<Scanned> {
  const scanned = await scan({ directory, known, put: blobs.put, maxBytes, breathe });
  assert.ok(scanned);
  return scanned;
}

async function restore(from: string, blobs: MemoryBlobs): Promise<{ directory: string; tree: KnownTree }> {
  const directory = newPlace();
  const tree = await rebuild({ directory, owner: undefined, root: from, get: blobs.get, breathe });
  return { directory, tree };
}

/** `salt` 0: zeros. */
type Content = { length: number; salt: number };

type Step =
  | { do: 'file'; path: string[]; content: Content; mode: number }
  | { do: 'directory'; path: string[]; mode: number }
  | { do: 'symlink'; path: string[]; target: string }
  | { do: 'hardlink'; path: string[]; to: string[] }
  | { do: 'sparse'; path: string[]; size: number }
  | { do: 'append'; path: string[]; content: Content }
  | { do: 'remove'; path: string[] }
  | { do: 'rename'; path: string[]; to: string[] };

/** Names of any bytes: few of them, so that steps meet. One character is one byte. */
const name = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('a', 'b', 'a-b', '.git', 'b.txt', 'Z', ' ') },
  {
    weight: 1,
    arbitrary: fc
      .array(
        fc.integer({ min: 1, max: 255 }).filter((byte) => byte !== 47),
        { minLength: 1, maxLength: 6 },
      )
      .map((bytes) => Buffer.from(bytes).toString('latin1'))
      .filter((text) => text !== '.' && text !== '..'),
  },
);
const path = fc
  .tuple(fc.constantFrom('workspace', 'home'), fc.array(name, { minLength: 1, maxLength: 4 }))
  .map(([top, names]) => [top, ...names]);
const content = fc.record({ length: fc.nat({ max: 300_000 }), salt: fc.nat({ max: 3 }) });
const mode = fc.constantFrom(0o644, 0o755, 0o600, 0o4755, 0o2755, 0o1777, 0o400);
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('file' as const), path, content, mode }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('directory' as const), path, mode }) },
    fc.record({ do: fc.constant('symlink' as const), path, target: name }),
    fc.record({ do: fc.constant('hardlink' as const), path, to: path }),
    fc.record({ do: fc.constant('sparse' as const), path, size: fc.integer({ min: 1, max: 3_000_000 }) }),
    fc.record({ do: fc.constant('append' as const), path, content }),
    fc.record({ do: fc.constant('remove' as const), path }),
    fc.record({ do: fc.constant('rename' as const), path, to: path }),
  ),
  { maxLength: 25 },
);

function bytesOf({ length, salt }: Content): Uint8Array {
  return new Uint8Array(length).map((_, i) => i * salt);
}

/** Times that a double holds exactly, for all that was written just now. */
function roundTimes(directory: Buffer): void {
  for (const name of readdirSync(directory, { encoding: 'latin1' })) {
    const at = Buffer.concat([directory, Buffer.from(`/${name}`, 'latin1')]);
    const stats = lstatSync(at, { bigint: true });
    if (stats.isDirectory()) roundTimes(at);
    const seconds = Number(lstatSync(at, { bigint: true }).mtimeNs / 1_953_125n) / 512;
    if (stats.mtimeNs % 1_953_125n !== 0n) lutimesSync(at, seconds, seconds);
  }
}

/** What the tree does not allow is not done. */
function apply(directory: string, list: readonly Step[]): void {
  const at = (names: readonly string[]): Buffer =>
    Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(names.join('/'), 'latin1')]);
  for (const step of list) {
    try {
      const place = at(step.path);
      // Not through links that earlier steps made: the tests would write into each other.
      for (let depth = 1; depth < step.path.length; depth++) {
        const parent = at(step.path.slice(0, depth));
        if (lstatSync(parent, { throwIfNoEntry: false })?.isSymbolicLink()) throw new Error('a link');
      }
      if (step.do !== 'remove') mkdirSync(at(step.path.slice(0, -1)), { recursive: true });
      if (step.do === 'file') {
        writeFileSync(place, bytesOf(step.content), { flag: 'wx' });
        chmodSync(place, step.mode);
      } else if (step.do === 'directory') {
        mkdirSync(place);
        chmodSync(place, step.mode);
      } else if (step.do === 'symlink') symlinkSync(Buffer.from(step.target, 'latin1'), place);
      else if (step.do === 'hardlink') linkSync(at(step.to), place);
      else if (step.do === 'sparse') {
        writeFileSync(place, 'x', { flag: 'wx' });
        truncateSync(place, step.size);
      } else if (step.do === 'append' && lstatSync(place).isFile())
        appendFileSync(place, bytesOf(step.content));
      else if (step.do === 'remove') rmSync(place, { recursive: true });
      else if (step.do === 'rename') renameSync(place, at(step.to));
    } catch (error) {
      assert.ok(error instanceof Error);
    }
  }
  roundTimes(Buffer.from(directory));
}

/** Bits that a snapshot drops. */
function withoutSetId(tree: Record<string, string>): Record<string, string> {
  const kept = Object.entries(tree).map(([where, what]) => [
    where,
    what.replace(
      /^(file|directory) ([0-7]+)/,
      (_, kind, bits) => `${kind} ${(parseInt(bits, 8) & 0o1777).toString(8)}`,
    ),
  ]);
  return Object.fromEntries(kept);
}

test('any tree comes back as it was, and again after any change', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(steps, steps, async (first, second) => {
      const blobs = memoryBlobs();
      const directory = newPlace();
      apply(directory, first);
      const one = await take(directory, blobs);
      const before = withoutSetId(describeTree(directory));
      assert.deepEqual(describeTree((await restore(one.taken.root, blobs)).directory), before);
      apply(directory, second);
      const two = await take(directory, blobs, one.tree);
      const now = withoutSetId(describeTree(directory));
      const back = await restore(two.taken.root, blobs);
      assert.deepEqual(describeTree(back.directory), now);
      assert.deepEqual(describeTree((await restore(one.taken.root, blobs)).directory), before);
      // What is known leads to the same snapshot as knowing nothing.
      const listed = (scanned: Scanned) =>
        scanned.tree.entries.map(({ entry }) => (entry.kind === 'file' ? { ...entry, parts: [] } : entry));
      assert.deepEqual(listed(two), listed(await take(directory, memoryBlobs())));
      // And one who restored it sees nothing to store.
      const again = await scan({
        directory: back.directory,
        known: back.tree,
        put: blobs.put,
        maxBytes,
        onlyIfSame: true,
        breathe,
      });
      assert.equal(again?.taken.root, two.taken.root);
      for (const place of [directory, back.directory]) rmSync(place, { recursive: true });
    }),
    { numRuns: 50 },
  );
});

test('a file that is closed to the runner is left out under each of its names', {
  skip: process.getuid?.() !== 0 && 'needs root, to be somebody else for a while',
}, async () => {
  const directory = newPlace();
  const at = (name: string) => join(directory, 'workspace', name);
  for (const name of ['closed', 'open']) {
    writeFileSync(at(`a-${name}`), name);
    linkSync(at(`a-${name}`), at(`b-${name}`));
  }
  chmodSync(at('a-closed'), 0);
  chmodSync(root, 0o755);
  // Somebody else has to get there.
  const above = dirname(root);
  const { mode } = statSync(above);
  chmodSync(above, mode | 0o011);
  process.seteuid?.(65534);
  const blobs = memoryBlobs();
  const { taken } = await take(directory, blobs).finally(() => {
    process.seteuid?.(0);
    chmodSync(above, mode);
  });
  assert.equal(taken.skipped.count, 2);
  const back = await restore(taken.root, blobs);
  assert.deepEqual(readdirSync(join(back.directory, 'workspace')), ['a-open', 'b-open']);
});
