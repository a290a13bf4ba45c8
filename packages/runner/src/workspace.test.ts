import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, afterEach, beforeEach, describe, it } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import { createWorkspaceFiles, type WorkspacePage } from './workspace.ts';

const asRoot = process.getuid?.() === 0;
const owner = asRoot ? { uid: 12345, gid: 12345 } : undefined;
const base = mkdtempSync(join(tmpdir(), 'atoll-workspace-'));
const root = join(base, 'workspace');
const outside = join(base, 'outside');
const files = createWorkspaceFiles({ root, owner });

const put = (path: string, content = 'content'): void => {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), content);
};
const link = (target: string, path: string): void => symlinkSync(target, join(root, path));
const read = async (path: string): Promise<string> => text((await files.openRead(path)).stream);
const bytes = async function* (...parts: string[]) {
  for (const part of parts) yield Buffer.from(part);
};
const openFds = (): number => readdirSync('/proc/self/fd').length;

describe('workspace files', () => {
  beforeEach(() => {
    mkdirSync(root, { recursive: true });
    mkdirSync(outside);
    writeFileSync(join(outside, 'secret'), 'secret');
  });
  afterEach(() => {
    rmSync(root, { recursive: true, force: true });
    rmSync(outside, { recursive: true, force: true });
  });
  after(() => rmSync(base, { recursive: true, force: true }));

  describe('openRead', () => {
    it('gives the size it told, whatever happens to the file meanwhile', async () => {
      put('grows', 'x'.repeat(200_000));
      put('shrinks', 'x'.repeat(200_000));
      put('empty', '');
      const [grows, shrinks, empty] = await Promise.all(
        ['grows', 'shrinks', 'empty'].map((path) => files.openRead(path)),
      );
      writeFileSync(join(root, 'grows'), 'y'.repeat(300_000), { flag: 'a' });
      writeFileSync(join(root, 'empty'), 'more');
      truncateSync(join(root, 'shrinks'), 100_000);
      assert.ok(grows && shrinks && empty);
      assert.equal(await text(grows.stream), 'x'.repeat(200_000));
      assert.equal(await text(empty.stream), '');
      await assert.rejects(text(shrinks.stream), { code: 'not_a_file' });
    });

    it('gives size, mode, time and bytes', async () => {
      put('a/b.txt', 'hello');
      chmodSync(join(root, 'a/b.txt'), 0o640);
      const { sizeBytes, mode, mtime, stream } = await files.openRead('a/b.txt');
      assert.deepEqual({ sizeBytes, mode }, { sizeBytes: 5, mode: 0o640 });
      assert.equal(mtime.getTime(), statSync(join(root, 'a/b.txt')).mtime.getTime());
      assert.equal(await text(stream), 'hello');
    });

    it('follows links that stay inside, as seen from inside', async () => {
      put('a/b/file', 'found');
      link('a/b/file', 'relative');
      link('/workspace/a/b/file', 'absolute');
      link('../workspace-not', 'a/up');
      link('b/../b/./file', 'a/dots');
      link('../../a', 'a/b/back');
      link('relative', 'twice');
      for (const path of [
        'relative',
        'absolute',
        'a/dots',
        'twice',
        'a/b/back/b/file',
        'a/b/back/b/back/dots',
      ]) {
        assert.equal(await read(path), 'found', path);
      }
    });

    it('refuses links that lead out', async () => {
      put('a/file');
      link(join(outside, 'secret'), 'absolute');
      link('../outside/secret', 'relative');
      link('../../outside/secret', 'a/up');
      link('..', 'dir');
      link('/workspace/../outside/secret', 'sneaky');
      link('/workspace-other/secret', 'prefix');
      link('/', 'slash');
      link('/proc/self/root', 'proc');
      const out = [
        'absolute',
        'relative',
        'a/up',
        'dir/outside/secret',
        'sneaky',
        'prefix',
        'slash/etc/passwd',
        'proc/etc/passwd',
      ];
      for (const path of out) {
        await assert.rejects(files.openRead(path), { code: 'path_outside_workspace' }, path);
      }
    });

    it('gives up on links that go round', async () => {
      link('b', 'a');
      link('a', 'b');
      await assert.rejects(files.openRead('a'), { code: 'path_outside_workspace' });
      put('l0', 'end');
      for (let index = 1; index <= 41; index++) link(`l${index - 1}`, `l${index}`);
      assert.equal(await read('l40'), 'end');
      await assert.rejects(files.openRead('l41'), { code: 'path_outside_workspace' });
    });

    it('opens regular files only, and is never blocked by a FIFO', async () => {
      execFileSync('mkfifo', [join(root, 'fifo')]);
      mkdirSync(join(root, 'dir'));
      link('fifo', 'to-fifo');
      for (const path of ['fifo', 'dir', 'to-fifo'])
        await assert.rejects(files.openRead(path), { code: 'not_a_file' });
      if (asRoot) {
        execFileSync('mknod', [join(root, 'device'), 'c', '1', '5']);
        await assert.rejects(files.openRead('device'), { code: 'not_a_file' });
      }
    });

    it('tells what is missing and what is no path', async () => {
      put('file');
      for (const path of ['nothing', 'no/thing', 'file/below']) {
        await assert.rejects(files.openRead(path), { code: 'not_found' }, path);
      }
      for (const path of ['', '/etc/passwd', '../x', 'a//b', 'x'.repeat(300)]) {
        await assert.rejects(async () => files.openRead(path), { code: 'invalid_path' }, path);
      }
    });
  });

  describe('write', () => {
    it('makes parents and gives all of it to the owner', async () => {
      assert.deepEqual(await files.write('a/b/c.txt', bytes('hel', 'lo')), { sizeBytes: 5, created: true });
      assert.equal(readFileSync(join(root, 'a/b/c.txt'), 'utf8'), 'hello');
      assert.deepEqual(readdirSync(join(root, 'a/b')), ['c.txt']);
      for (const path of ['a', 'a/b', 'a/b/c.txt']) {
        if (owner)
          assert.deepEqual(
            { uid: statSync(join(root, path)).uid, gid: statSync(join(root, path)).gid },
            owner,
          );
      }
    });

    it('replaces as a whole, keeps the mode, drops setuid and setgid', async () => {
      put('tool', 'old');
      chmodSync(join(root, 'tool'), 0o6755);
      const old = await files.openRead('tool');
      assert.deepEqual(await files.write('tool', bytes('new')), { sizeBytes: 3, created: false });
      assert.equal(await text(old.stream), 'old');
      assert.equal(await read('tool'), 'new');
      assert.equal(statSync(join(root, 'tool')).mode & 0o7777, 0o755);
    });

    it('leaves nothing of a write that failed', async () => {
      put('kept', 'kept');
      const broken = async function* () {
        yield Buffer.from('half');
        throw new Error('connection lost');
      };
      await assert.rejects(files.write('kept', broken()), /connection lost/);
      await assert.rejects(files.write('kept', bytes('12345', '67890'), { maxBytes: 9 }), {
        code: 'body_too_large',
      });
      assert.deepEqual(readdirSync(root), ['kept']);
      assert.equal(await read('kept'), 'kept');
      assert.equal((await files.write('kept', bytes('12345', '6789'), { maxBytes: 9 })).sizeBytes, 9);
    });

    it('writes through links inside, and not through those out', async () => {
      put('real/file', 'old');
      link('real/file', 'link');
      link('real', 'dir');
      await files.write('link', bytes('new'));
      assert.ok(lstatSync(join(root, 'link')).isSymbolicLink());
      assert.equal(await read('real/file'), 'new');
      await files.write('dir/other', bytes('x'));
      assert.equal(await read('real/other'), 'x');
      link(join(outside, 'secret'), 'out');
      link(outside, 'outdir');
      link('../outside/made', 'dangling');
      for (const path of ['out', 'outdir/secret', 'outdir/made', 'dangling']) {
        await assert.rejects(files.write(path, bytes('bad')), { code: 'path_outside_workspace' }, path);
      }
      assert.deepEqual(readdirSync(outside), ['secret']);
      assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'secret');
    });

    it('replaces nothing that is not a file', async () => {
      mkdirSync(join(root, 'dir'));
      execFileSync('mkfifo', [join(root, 'fifo')]);
      for (const path of ['dir', 'fifo'])
        await assert.rejects(files.write(path, bytes('x')), { code: 'not_a_file' });
    });
  });

  describe('remove', () => {
    it('removes files, links and trees, never what links point to', async () => {
      put('file');
      put('tree/a/b');
      // Anybody else is kept out by it, as its maker is.
      if (asRoot) chmodSync(join(root, 'tree/a'), 0);
      link(outside, 'tree/out');
      link(join(outside, 'secret'), 'out');
      for (const path of ['file', 'tree', 'out']) await files.remove(path);
      assert.deepEqual(readdirSync(root), []);
      assert.deepEqual(readdirSync(outside), ['secret']);
      await assert.rejects(files.remove('file'), { code: 'not_found' });
      link(outside, 'dir');
      await assert.rejects(files.remove('dir/secret'), { code: 'path_outside_workspace' });
      assert.ok(existsSync(join(outside, 'secret')));
    });
  });

  describe('list', () => {
    const all = ['a', 'a-b', 'a-b/x', 'a.txt', 'a/b', 'a/b/c', 'a/d', 'empty', 'link', 'z', 'é', '\u{1f600}'];

    beforeEach(() => {
      for (const path of ['a-b/x', 'a.txt', 'a/b/c', 'a/d', 'z', 'é', '\u{1f600}']) put(path);
      mkdirSync(join(root, 'empty'));
      link(outside, 'link');
    });

    it('lists recursively by the bytes of the path, following no link', async () => {
      const { files: found, nextCursor } = await files.list();
      assert.deepEqual(
        found.map((file) => file.path),
        all,
      );
      assert.equal(nextCursor, undefined);
      const types = Object.fromEntries(found.map((file) => [file.path, file.type]));
      assert.deepEqual([types.a, types['a.txt'], types.link], ['directory', 'file', 'symlink']);
      assert.equal(found.find((file) => file.path === 'a.txt')?.sizeBytes, 7);
    });

    it('gives the same in pages of any size', async () => {
      for (let limit = 1; limit <= all.length + 1; limit++) {
        const found: string[] = [];
        let cursor: string | undefined;
        do {
          const page: WorkspacePage = await files.list(undefined, {
            limit,
            ...(cursor !== undefined && { cursor }),
          });
          assert.ok(page.files.length <= limit);
          found.push(...page.files.map((file) => file.path));
          cursor = page.nextCursor;
        } while (cursor !== undefined);
        assert.deepEqual(found, all, `limit ${limit}`);
      }
    });

    it('lists below a directory', async () => {
      assert.deepEqual(
        (await files.list('a')).files.map((file) => file.path),
        ['a/b', 'a/b/c', 'a/d'],
      );
      assert.deepEqual((await files.list('empty')).files, []);
      await assert.rejects(files.list('link'), { code: 'path_outside_workspace' });
      await assert.rejects(files.list('nothing'), { code: 'not_found' });
      await assert.rejects(files.list('z'), { code: 'not_found' });
      await assert.rejects(files.list('a', { cursor: 'z' }), { code: 'invalid_cursor' });
    });

    it('leaves out what no path can name, so that each cursor is one', async () => {
      const deep = (levels: number) => `empty/${Array(levels).fill('n'.repeat(250)).join('/')}`;
      mkdirSync(join(root, deep(5)), { recursive: true });
      writeFileSync(join(root, deep(4), 'n'.repeat(14)), '');
      writeFileSync(join(root, deep(4), 'o'.repeat(15)), '');
      const { files: found } = await files.list('empty');
      assert.deepEqual(
        found.map(({ path }) => path),
        [1, 2, 3, 4].map(deep).concat(`${deep(4)}/${'n'.repeat(14)}`),
      );
      assert.equal(found.at(-1)?.path.length, 1024);
    });

    it('finds a page behind thousands of empty directories', async () => {
      for (let index = 0; index < 3000; index++) mkdirSync(join(root, 'empty', String(index)));
      const page = await files.list(undefined, { limit: 2, cursor: 'empty/999' });
      assert.deepEqual(
        page.files.map((file) => file.path),
        ['link', 'z'],
      );
    });
  });

  it('never reads or writes outside while a link is being swapped', async () => {
    put('dir/secret', 'inside');
    mkdirSync(join(root, 'stay'));
    const swap = `
      const fs = require('fs');
      process.chdir(${JSON.stringify(root)});
      const outside = ${JSON.stringify(outside)};
      const attempt = (step) => { try { step(); } catch {} };
      process.stdout.write('up');
      for (;;) {
        fs.renameSync('dir', 'real'); fs.symlinkSync(outside, 'dir'); fs.unlinkSync('dir'); fs.renameSync('real', 'dir');
        fs.renameSync('dir/secret', 'dir/kept'); fs.symlinkSync(outside + '/secret', 'dir/secret');
        fs.unlinkSync('dir/secret'); fs.renameSync('dir/kept', 'dir/secret');
        attempt(() => fs.symlinkSync(outside, 'flip'));
        attempt(() => fs.rmSync('flip', { recursive: true, force: true }));
        attempt(() => fs.mkdirSync('flip'));
        attempt(() => fs.rmSync('flip', { recursive: true, force: true }));
      }`;
    const swapper = spawn(process.execPath, ['-e', swap], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(swapper.stdout, 'data');
    const seen = new Map<string, number>();
    const count = (what: string): unknown => seen.set(what, (seen.get(what) ?? 0) + 1);
    for (let attempt = 0; attempt < 5000; attempt++) {
      try {
        const content = attempt % 2 === 0 ? await read('dir/secret') : await overwrite();
        count(content);
      } catch (error) {
        assert.ok(error instanceof AtollError, String(error));
        count(error.code);
      }
    }
    assert.equal(swapper.exitCode, null, 'the swapper swapped to the end');
    swapper.kill('SIGKILL');
    await once(swapper, 'exit');
    assert.equal(seen.get('secret'), undefined);
    assert.deepEqual(readdirSync(outside), ['secret']);
    assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'secret');
    // The race was one: both sides of it were met.
    for (const what of ['inside', 'written', 'path_outside_workspace'])
      assert.ok(seen.has(what), JSON.stringify([...seen]));

    async function overwrite(): Promise<string> {
      await files.write('flip/written', bytes('x'));
      return 'written';
    }
  });

  it('never touches what is outside while a tree that is removed is filled and swapped', async () => {
    chmodSync(join(outside, 'secret'), 0o400);
    const swap = `
      const fs = require('fs');
      process.chdir(${JSON.stringify(root)});
      const attempt = (step) => { try { step(); } catch {} };
      const during = (ms, step) => { for (const end = Date.now() + ms; Date.now() < end; ) attempt(step); };
      process.stdout.write('up');
      for (let n = 0; ; n++) {
        attempt(() => fs.mkdirSync('tree'));
        during(8, () => fs.writeFileSync('tree/' + (n++ % 500), ''));
        attempt(() => fs.renameSync('tree', 'aside' + n));
        attempt(() => fs.symlinkSync(${JSON.stringify(outside)}, 'tree'));
        during(3, () => fs.lstatSync('tree'));
        attempt(() => fs.unlinkSync('tree'));
        attempt(() => fs.renameSync('aside' + n, 'tree'));
      }`;
    const swapper = spawn(process.execPath, ['-e', swap], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(swapper.stdout, 'data');
    let hindered = 0;
    for (const end = Date.now() + 20_000; Date.now() < end && hindered < 8; )
      await files.remove('tree').catch((error: unknown) => {
        assert.ok(error instanceof AtollError, String(error));
        assert.doesNotMatch(error.detail, /proc/);
        if (error.code === 'sandbox_failed') hindered++;
      });
    swapper.kill('SIGKILL');
    await once(swapper, 'exit');
    assert.equal(statSync(join(outside, 'secret')).mode & 0o777, 0o400);
    assert.deepEqual(readdirSync(outside), ['secret']);
    assert.ok(hindered > 0, 'a removal was hindered');
  });

  it('leaves no descriptor open', { skip: process.platform !== 'linux' }, async () => {
    put('a/file');
    link('../outside', 'out');
    const round = async (): Promise<void> => {
      await read('a/file');
      await files.write('a/b/c', bytes('x'));
      await files.list();
      await assert.rejects(files.openRead('out/secret'));
      await assert.rejects(files.openRead('a'));
    };
    await round();
    const before = openFds();
    for (let index = 0; index < 20; index++) await round();
    assert.ok(openFds() <= before + 1, `${openFds()} after ${before}`);
  });
});
