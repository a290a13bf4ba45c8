/** One of everything that a tree can hold, and a tree that changes while it is looked through. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import { rebuild } from './rebuild.ts';
import { scan } from './scan.ts';
import { breathe, describeTree, memoryBlobs, places } from './trees.fixture.ts';

const { root, newPlace } = places('nasty');

const asRoot = process.getuid?.() === 0;
const EVERYTHING = `
  cd workspace
  mkdir -p .git/objects sub/.git empty d0
  echo ref > .git/HEAD; echo inner > sub/.git/config; : > nothing
  printf odd > "$(printf 'new\\nline')"; printf odd > "$(printf 'bad\\377\\376utf8')"; printf odd > ' '; printf odd > '-rf'
  printf long > "$(head -c 255 /dev/zero | tr '\\0' x)"
  echo secret > closed && chmod 0000 closed; mkdir shut && echo in > shut/in && chmod 0000 shut
  echo s > setuid && chmod 6755 setuid; chmod 1777 empty
  truncate -s 50000000 sparse; printf end >> sparse
  echo one > first && ln first second && ln first d0/third
  ln -s nowhere dangling; ln -s /etc/passwd absolute; ln -s ../.. up; ln -s . self; ln -s loop2 loop1; ln -s loop1 loop2
  mkfifo fifo
  deep=.; for i in $(seq 100); do deep=$deep/n; done; mkdir -p $deep; echo deep > $deep/file
  touch -d '1969-12-31T23:59:58.123456789Z' old; touch -h -d '1901-12-14T00:00:00Z' dangling; touch -d '2261-01-01T00:00:00.987654321Z' far
  touch -d '1960-02-03T04:05:06.7Z' d0
  ${asRoot ? 'mknod null c 1 3; mknod block b 7 99' : ''}
`;

/** What a restoration gives back, and its times apart. */
function expectationOf(tree: Record<string, string>): {
  what: Record<string, string>;
  times: Map<string, bigint>;
} {
  const times = new Map<string, bigint>();
  const what: Record<string, string> = {};
  for (const [path, text] of Object.entries(tree)) {
    if (text === 'special') continue;
    const [kind = '', ...rest] = text.split(' ');
    const at = kind === 'symlink' ? 0 : 1;
    if (kind === 'file' || kind === 'directory') rest[0] = (parseInt(rest[0] ?? '0', 8) & 0o1777).toString(8);
    if (kind === 'file' || kind === 'directory' || kind === 'symlink')
      times.set(path, BigInt(rest.splice(at, 1)[0] ?? 0));
    what[path] = [kind, ...rest].join(' ');
  }
  return { what, times };
}

test('one of everything comes back, and what cannot be kept is told', {
  skip: !asRoot && 'only root reads files of mode 000',
}, async () => {
  const directory = newPlace();
  execFileSync('/bin/bash', ['-ec', EVERYTHING], { cwd: directory });
  const server = createServer().listen(join(directory, 'home', 'socket'));
  server.unref();
  await once(server, 'listening');
  const blobs = memoryBlobs();
  const before = expectationOf(describeTree(directory));
  const taken = await scan({ directory, known: undefined, put: blobs.put, maxBytes: 1e9, breathe });
  assert.ok(taken);
  const { skipped } = taken.taken;
  assert.deepEqual(skipped.first.map(({ path, reason }) => `${path}: ${reason}`).sort(), [
    'home/socket: a socket',
    'workspace/block: a device',
    'workspace/fifo: a FIFO',
    'workspace/null: a device',
  ]);
  assert.ok(taken.taken.storedBytes < 1_200_000, 'holes are not stored, but for the piece with its end');
  const back = newPlace();
  await rebuild({ directory: back, owner: undefined, root: taken.taken.root, get: blobs.get, breathe });
  const now = expectationOf(describeTree(back));
  assert.deepEqual(now.what, before.what);
  for (const [path, time] of before.times) {
    const apart = (now.times.get(path) ?? 0n) - time;
    assert.ok(apart > -1000n && apart < 1000n, `${path} is ${apart} ns off`);
  }
  assert.ok(lstatSync(join(back, 'workspace', 'sparse')).blocks < 3000, 'nor written');
});

/** Makes, renames, removes, grows, and swaps files, directories and links for each other, as fast as it can. */
const CHURN = `
  const fs = require('node:fs');
  const [secret] = process.argv.slice(1);
  const names = ['a', 'b', 'c', 'd'];
  const pick = (of) => of[Math.floor(Math.random() * of.length)];
  const path = () => [pick(names), pick(names), pick(names)].slice(0, 1 + Math.floor(Math.random() * 3)).join('/');
  const acts = [
    () => fs.mkdirSync(path(), { recursive: true }),
    () => fs.writeFileSync(path(), 'x'.repeat(Math.random() * 100000)),
    () => fs.appendFileSync(path(), 'more'),
    () => fs.truncateSync(path(), 10),
    () => fs.rmSync(path(), { recursive: true, force: true }),
    () => fs.renameSync(path(), path()),
    () => fs.symlinkSync(secret, path()),
    () => fs.symlinkSync(secret + '/file', path()),
    () => fs.linkSync(path(), path()),
    () => { const at = path(); fs.rmSync(at, { recursive: true, force: true }); fs.symlinkSync(secret, at); },
    () => { const at = path(); fs.renameSync(at, at + '-'); fs.symlinkSync(secret, at); fs.unlinkSync(at); fs.renameSync(at + '-', at); },
  ];
  process.stdout.write('begun');
  for (;;) { try { pick(acts)(); } catch {} }
`;

test('a tree that somebody changes all the time: nothing from outside, no hang, and what was taken can be restored', {
  timeout: 60_000,
}, async () => {
  const outside = join(root, 'outside');
  mkdirSync(outside);
  const marked = 'THE-MARKED-SECRET';
  writeFileSync(join(outside, 'file'), marked.repeat(1000));
  const directory = newPlace();
  symlinkSync(outside, join(directory, 'workspace', 'a'));
  const cwd = join(directory, 'workspace');
  const churn = spawn(process.execPath, ['-e', CHURN, outside], { cwd, stdio: ['ignore', 'pipe', 'ignore'] });
  await once(churn.stdout, 'data');
  try {
    let complete = 0;
    let known: Awaited<ReturnType<typeof scan>>;
    for (let round = 0; round < 60; round++) {
      const blobs = memoryBlobs();
      try {
        known = await scan({
          directory,
          known: round % 2 ? known?.tree : undefined,
          put: blobs.put,
          maxBytes: 1e9,
          breathe,
        });
      } catch (error) {
        assert.ok(
          error instanceof AtollError || (error as NodeJS.ErrnoException).code !== undefined,
          String(error),
        );
        known = undefined;
        continue;
      }
      for (const blob of blobs.held.values()) assert.ok(!Buffer.from(blob).includes(marked));
      if (round % 2 || !known) continue;
      const back = newPlace();
      await rebuild({ directory: back, owner: undefined, root: known.taken.root, get: blobs.get, breathe });
      rmSync(back, { recursive: true });
      complete++;
    }
    assert.ok(complete > 10, `${complete} were whole`);
  } finally {
    churn.kill('SIGKILL');
    await once(churn, 'exit');
  }
});
