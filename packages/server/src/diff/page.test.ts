import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FileChange } from '@atoll/protocol/schemas/diff';
import { comparePaths } from '@atoll/protocol/snapshot-format';
import { applyPatch } from 'diff';
import fc from 'fast-check';
import { diffPage, MAX_FILE_BYTES, type Page } from './page.ts';
import { snapshotTree } from './tree.ts';
import { type Described, type MemoryBlobs, memoryBlobs, putTree, type Thing } from './trees.fixture.ts';

type Compare = { blobs: MemoryBlobs; from: string; to: string; limit?: number };

async function pages({ blobs, from, to, limit = 1000 }: Compare): Promise<Page[]> {
  const side = async (root: string) => ({ tree: await snapshotTree(root, blobs.get), get: blobs.get });
  const all: Page[] = [];
  do {
    const places = all.at(-1)?.next;
    all.push(await diffPage({ from: await side(from), to: await side(to), limit, places }));
  } while (all.at(-1)?.next);
  return all;
}

async function changesOf(before: Described, after: Described, limit?: number): Promise<FileChange[]> {
  const blobs = memoryBlobs();
  const [from, to] = [putTree(blobs, before, { home: 3 }), putTree(blobs, after, { home: 40 })];
  const all = await pages({ blobs, from, to, ...(limit && { limit }) });
  if (limit) for (const page of all.slice(0, -1)) assert.equal(page.changes.length, limit);
  return all.flatMap((page) => page.changes);
}

const file = (content: string | Uint8Array, mode = 0o644): Thing => ({
  kind: 'file',
  mode,
  content: Buffer.from(content),
});

const bytesOf = (text: string, bytes: string | null): string =>
  (bytes === null ? Buffer.from(text) : Buffer.from(bytes, 'base64')).toString('latin1');

/** What the changes make of a tree. Content without a diff is taken from `after`, as it would be from the session. */
function applied(before: Described, changes: readonly FileChange[], after: Described): Map<string, Thing> {
  const made = new Map(before);
  const contentAt = (tree: Described, path: string): Uint8Array | undefined => {
    const thing = tree.get(path);
    if (thing?.kind === 'hardlink') return contentAt(tree, thing.target);
    return thing?.kind === 'file' ? thing.content : undefined;
  };
  for (const { path: text, pathBytes, change, before: was, after: is, diff, omitted } of changes) {
    const path = bytesOf(text, pathBytes);
    assert.equal(before.has(path), was !== null, path);
    assert.equal(change, was === null ? 'added' : is === null ? 'removed' : 'changed');
    if (is === null) made.delete(path);
    else if (is.type === 'directory') made.set(path, { kind: 'directory', mode: is.mode });
    else if (is.type !== 'file')
      made.set(path, { kind: is.type, target: bytesOf(is.target ?? '', is.targetBytes) });
    else {
      const old = contentAt(before, path);
      let content = old ?? Buffer.from('');
      if (diff !== null) {
        const patched = applyPatch(Buffer.from(content).toString(), diff, { autoConvertLineEndings: false });
        assert.ok(patched !== false, `${path}: ${diff}`);
        content = Buffer.from(patched);
      } else if (omitted !== null || (was !== null && old === undefined))
        content = contentAt(after, path) ?? content;
      assert.equal(content.length, is.sizeBytes);
      made.set(path, { kind: 'file', mode: is.mode, content: Buffer.from(content) });
    }
  }
  return made;
}

const name = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('a', 'b', 'a-b', '.git', 'b.txt', 'Z', 'c d', 'line\nfeed') },
  { weight: 1, arbitrary: fc.constantFrom('\xff\xfe', 'gr\xc3\xbcn', '"', '\\') },
);
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
const lines = fc
  .array(fc.constantFrom('x\n', 'y\n', 'z', '\r\n', 'ü\n', '\n', '-- \n', '@@ -1 +1 @@\n'), { maxLength: 30 })
  .map((all) => Buffer.from(all.join('')));
const content = fc.oneof(
  { weight: 5, arbitrary: lines },
  { weight: 1, arbitrary: fc.constantFrom(Buffer.from([0, 1]), Buffer.from([0xff, 0x41])) },
);
const mode = fc.constantFrom(0o644, 0o755, 0o1777);
const object = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(model, { noNullPrototype: true });
const thing: fc.Arbitrary<Thing> = fc.oneof(
  { weight: 6, arbitrary: object({ kind: fc.constant('file' as const), mode, content }) },
  { weight: 2, arbitrary: object({ kind: fc.constant('directory' as const), mode }) },
  object({ kind: fc.constant('symlink' as const), target: fc.constantFrom('a', '../b', 'to\xff') }),
  object({ kind: fc.constant('hardlink' as const), target: fc.constant('!') }),
);
/** The path that sorts first is a file, of which every hard link is another name; and many more make several runs. */
const tree: fc.Arbitrary<Described> = fc
  .record({
    own: fc.array(fc.tuple(path, thing), { maxLength: 25 }),
    first: content,
    many: fc.constantFrom(0, 0, 300),
  })
  .map(({ own, first, many }) => {
    const filler = Array.from({ length: many }, (_, i) => [`m${i}`, file('same')] as const);
    return new Map<string, Thing>([...own, ...filler, ['!', file(first)]]);
  });

/** What is left of a tree, and what came to it. */
const pair = fc.tuple(tree, tree, fc.infiniteStream(fc.nat({ max: 3 }))).map(([before, added, fates]) => {
  const kept = [...before].flatMap(([at, what]): [string, Thing][] => {
    const fate = fates.next().value;
    if (fate === 3) return [];
    return [[at, fate === 2 && 'mode' in what ? { ...what, mode: what.mode ^ 0o100 } : what]];
  });
  return { before, after: new Map([...kept, ...[...added].filter(() => fates.next().value === 0)]) };
});

const sorted = (of: Described) =>
  [...of].map(([at, what]) => [
    at,
    what.kind === 'file' ? { ...what, content: Buffer.from(what.content) } : what,
  ]);

test('what differs, put on the one tree, gives the other; in pages of any size', {
  timeout: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(pair, fc.constantFrom(1, 3, 1000), async ({ before, after }, limit) => {
      const changes = await changesOf(before, after, limit);
      const order = changes.map((one) => bytesOf(one.path, one.pathBytes));
      assert.deepEqual(order, order.toSorted(comparePaths), 'in the order of a list');
      const made = applied(before, changes, after);
      const byPath = (of: Described) => sorted(of).sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
      assert.deepEqual(byPath(made), byPath(after));
    }),
    { numRuns: 150 },
  );
});

test('what is the same is not read: the cost is that of what changed', async () => {
  const many = Array.from({ length: 20_000 }, (_, i) => [`d${i % 50}/f${i}`, file(`${i}`)] as const);
  const before = new Map<string, Thing>(many);
  const after = new Map(before).set('d7/f7', file('other')).set('d9/new', file('new'));
  after.delete('d40/f40');
  const blobs = memoryBlobs();
  const [from, to] = [putTree(blobs, before, { home: 2000 }), putTree(blobs, after, { home: 2001 })];
  const [page] = await pages({ blobs, from, to });
  assert.deepEqual(
    page?.changes.map((one) => `${one.change} ${one.path}`),
    ['removed d40/f40', 'changed d7/f7', 'added d9/new'],
  );
  // Two roots, a few runs on each side, and the halves of four files.
  assert.ok(blobs.reads.length < 30, `${blobs.reads.length} blobs were read`);
});

test('of what is no text, or too long, it says so; and of times nothing', async () => {
  const long = 'x'.repeat(MAX_FILE_BYTES + 1);
  const before = new Map([
    ['binary', file('a\0')],
    ['grew', file('x')],
    ['latin', file('text')],
    ['rewritten', file('a line of some length\n'.repeat(10_000))],
    ['touched', file('same')],
  ]);
  const after = new Map([
    ['binary', file('b\0')],
    ['grew', file(long)],
    ['latin', file(Buffer.from('\xe9', 'latin1'))],
    ['rewritten', file('another line of that length\n'.repeat(10_000))],
    ['touched', { ...file('same'), mtime: '99' } as Thing],
  ]);
  const changes = await changesOf(before, after);
  assert.deepEqual(
    changes.map((one) => [one.path, one.omitted, one.diff, one.after?.sizeBytes]),
    [
      ['binary', 'binary', null, 2],
      ['grew', 'too_large', null, MAX_FILE_BYTES + 1],
      ['latin', 'binary', null, 1],
      ['rewritten', 'too_large', null, 280_000],
    ],
  );
});

test('names as git has them in a diff', async () => {
  const changes = await changesOf(
    new Map(),
    new Map([
      ['a "b"\n\xff', file('x')],
      ['a b', file('x')],
    ]),
  );
  assert.deepEqual(
    changes.map((one) => [one.path, one.pathBytes, one.diff?.split('\n').slice(0, 2)]),
    [
      [
        'a "b"\n\ufffd',
        Buffer.from('a "b"\n\xff', 'latin1').toString('base64'),
        ['--- /dev/null', '+++ "b/a \\"b\\"\\n\\377"\t'],
      ],
      ['a b', null, ['--- /dev/null', '+++ b/a b\t']],
    ],
  );
});

test('a page holds a bounded amount of text', async () => {
  const text = Buffer.from('some line of text\n'.repeat(10_000));
  const after = new Map(Array.from({ length: 8 }, (_, i) => [`f${i}`, file(text)] as const));
  const blobs = memoryBlobs();
  const [from, to] = [putTree(blobs, new Map()), putTree(blobs, after)];
  const all = await pages({ blobs, from, to });
  assert.deepEqual(
    all.map((page) => page.changes.length),
    [2, 2, 2, 2],
  );
});
