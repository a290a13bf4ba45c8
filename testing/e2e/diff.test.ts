/** What a session's workspace was at two points, and what lies between: as files on disk say it, and as git takes it. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { OperationInput, OperationResult } from '@atoll/protocol';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll, until } from '../atoll.ts';

let atoll: Atoll;
before(async () => {
  atoll = await startAtoll({ args: ['--driver', 'bubblewrap', '--capacity', '4'] });
  await deployProgram(atoll.client, 'versatile', versatile);
});
after(() => atoll[Symbol.asyncDispose]());

type Diff = OperationResult<'session.diff'>;

const create = async () => (await atoll.client.call('session.create', { agent: 'versatile' })).session.id;
const diff = (sessionId: string, points: Omit<OperationInput<'session.diff'>, 'sessionId'> = {}) =>
  atoll.client.call('session.diff', { sessionId, ...points });
const say = (id: string, content: string) => Array.fromAsync(atoll.client.send(id, { content }));

async function run(sessionId: string, command: string): Promise<void> {
  const done = await atoll.client.call('session.exec', { sessionId, command });
  assert.equal(done.exitCode, 0, JSON.stringify(done));
}

/** Ends a turn, and answers with the seq of the snapshot that belongs to it. */
async function turn(id: string, content = 'echo x'): Promise<number> {
  const events = await say(id, content);
  const { seq } = events.at(-1) ?? {};
  assert.ok(seq);
  await until(async () => {
    const { snapshots } = await atoll.client.call('session.snapshots.list', { sessionId: id });
    return snapshots.some((snapshot) => snapshot.seq === seq && snapshot.status === 'complete');
  });
  return seq;
}

/** What `atoll session diff` says, not on a terminal. */
function cli(...words: string[]): Promise<string> {
  const main = join(import.meta.dirname, '../../packages/cli/src/main.mjs');
  const { PATH, HOME } = process.env;
  const env = { PATH, HOME, ATOLL_SERVER: atoll.url, ATOLL_API_KEY: atoll.key };
  const child = spawn(process.execPath, [main, 'session', 'diff', ...words], { env });
  return new Response(child.stdout).text();
}

const told = ({ changes }: Diff) => changes.map(({ change, path }) => `${change} ${path}`);

test('turn by turn, from the beginning, backwards, and now', async () => {
  const id = await create();
  assert.deepEqual(await diff(id), { fromSeq: 0, toSeq: null, changes: [], nextCursor: null });
  await run(id, 'printf "one\\ntwo\\n" > notes && mkdir -p src && echo x > src/a');
  const first = await turn(id);
  await run(id, 'printf "one\\n2\\n" > notes && rm -r src && chmod +x notes');
  const second = await turn(id);
  await run(id, 'echo later > later');
  const between = await diff(id, { from: first, to: second });
  assert.deepEqual([between.fromSeq, between.toSeq], [first, second]);
  assert.deepEqual(told(between), ['changed notes', 'removed src', 'removed src/a']);
  assert.deepEqual(between.changes[0], {
    path: 'notes',
    pathBytes: null,
    change: 'changed',
    before: { type: 'file', mode: 0o644, sizeBytes: 8, target: null, targetBytes: null },
    after: { type: 'file', mode: 0o755, sizeBytes: 6, target: null, targetBytes: null },
    diff: '--- a/notes\n+++ b/notes\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n',
    omitted: null,
  });
  assert.deepEqual(told(await diff(id, { from: second, to: first })), [
    'changed notes',
    'added src',
    'added src/a',
  ]);
  assert.deepEqual(told(await diff(id, { from: second })), ['added later']);
  const all = await diff(id);
  assert.deepEqual([told(all), all.fromSeq, all.toSeq], [['added later', 'added notes'], 0, null]);
  // In between, a point is the snapshot before it; and looking left none behind.
  assert.equal((await diff(id, { from: first + 1, to: second - 1 })).toSeq, first);
  const { snapshots } = await atoll.client.call('session.snapshots.list', { sessionId: id });
  assert.deepEqual(
    snapshots.map(({ seq }) => seq),
    [first, second],
  );
  await assert.rejects(diff(id, { from: 10_000 }), { code: 'invalid_cursor' });
  await atoll.client.call('session.end', { sessionId: id });
  const ended = await diff(id);
  assert.deepEqual([told(ended), ended.toSeq], [['added notes'], second], 'the last that was kept');
});

test('everything that a tree can hold, also what no text can', async () => {
  const id = await create();
  await run(
    id,
    `mkdir -p empty gone/deep && echo x > gone/deep/file && ln -s one link && printf 'a\\0b' > bin &&
     echo same > kept && echo text > becomes && echo first > a && ln a z && printf 'caf\\351' > latin &&
     head -c 2000000 /dev/zero > large && mkdir dir && echo home > ~/outside`,
  );
  const first = await turn(id);
  await run(
    id,
    `rm -r gone empty && ln -sfn two link && printf 'a\\0c' > bin && rm becomes && mkdir becomes && touch kept &&
     rm z && echo first > z && printf 'caf\\340' > latin && head -c 1000000 /dev/zero > large &&
     chmod 700 dir && mkfifo pipe && echo changed > ~/outside &&
     node -e 'fs.writeFileSync("line\\nfeed", "x"); fs.writeFileSync(Buffer.from([0x66, 0xff]), "y")'`,
  );
  const { changes } = await diff(id, { from: first });
  assert.deepEqual(
    changes.map((one) => [one.path, one.change, one.before?.type, one.after?.type, one.omitted]),
    [
      ['becomes', 'changed', 'file', 'directory', null],
      ['bin', 'changed', 'file', 'file', 'binary'],
      ['dir', 'changed', 'directory', 'directory', null],
      ['empty', 'removed', 'directory', undefined, null],
      ['f\ufffd', 'added', undefined, 'file', null],
      ['gone', 'removed', 'directory', undefined, null],
      ['gone/deep', 'removed', 'directory', undefined, null],
      ['gone/deep/file', 'removed', 'file', undefined, null],
      ['large', 'changed', 'file', 'file', 'too_large'],
      ['latin', 'changed', 'file', 'file', 'binary'],
      ['line\nfeed', 'added', undefined, 'file', null],
      ['link', 'changed', 'symlink', 'symlink', null],
      ['z', 'changed', 'hardlink', 'file', null],
    ],
  );
  const at = (path: string) => changes.find((one) => one.path === path);
  assert.deepEqual([at('link')?.before?.target, at('link')?.after?.target], ['one', 'two']);
  assert.deepEqual([at('dir')?.before?.mode, at('dir')?.after?.mode], [0o755, 0o700]);
  assert.deepEqual([at('large')?.before?.sizeBytes, at('large')?.after?.sizeBytes], [2_000_000, 1_000_000]);
  assert.equal(at('f\ufffd')?.pathBytes, Buffer.from([0x66, 0xff]).toString('base64'));
  assert.deepEqual([at('z')?.before?.target, at('z')?.before?.sizeBytes, at('z')?.diff], ['a', 6, null]);
  await atoll.client.call('session.end', { sessionId: id });
});

test('pages hold still while the files go on; a cursor of something else is refused', async () => {
  const id = await create();
  await run(id, 'for i in $(seq 10 39); do echo $i > f$i; done');
  const whole = await diff(id);
  let page = await diff(id, { limit: 7 });
  const seen = [...page.changes];
  await run(id, 'rm f3*; echo more > f20');
  while (page.nextCursor !== null) {
    page = await diff(id, { limit: 7, cursor: page.nextCursor });
    assert.equal(page.toSeq, null);
    seen.push(...page.changes);
  }
  assert.deepEqual(seen, whole.changes);
  const { nextCursor } = await diff(id, { limit: 7 });
  const forged = JSON.parse(Buffer.from(nextCursor ?? '', 'base64url').toString());
  forged.to.tree.hash = 'f'.repeat(64);
  const cursors = [
    JSON.stringify(forged),
    '{}',
    'x',
    JSON.stringify({ ...forged, to: forged.from, from: {} }),
  ];
  forged.to.tree.hash = forged.from.tree.hash;
  cursors.push(JSON.stringify(forged));
  for (const text of cursors)
    await assert.rejects(diff(id, { cursor: Buffer.from(text).toString('base64url') }), {
      code: 'invalid_cursor',
    });
  await atoll.client.call('session.end', { sessionId: id });
});

test('while a turn runs, while it is paused, and when its runner has lost everything', async () => {
  const id = await create();
  const waiting = say(id, 'wait');
  await until(async () => (await atoll.client.call('session.show', { sessionId: id })).session.turn !== null);
  await run(id, 'echo x > during');
  assert.deepEqual(told(await diff(id)), ['added during']);
  await atoll.client.call('session.interrupt', { sessionId: id });
  await waiting;
  await atoll.client.call('session.pause', { sessionId: id });
  await atoll.client.writeFile(id, 'written', new TextEncoder().encode('x'));
  const paused = await diff(id);
  assert.deepEqual([told(paused), paused.toSeq], [['added during', 'added written'], null]);
  const { session: forked } = await atoll.client.call('session.fork', { sessionId: id });
  const own = await diff(forked.id);
  const both = ['added during', 'added written'];
  assert.deepEqual([told(own), own.fromSeq, own.toSeq], [both, 0, forked.snapshotSeq]);
  await rm(join(atoll.dataDir, 'runner', 'workspaces', id), { recursive: true });
  const lost = await diff(id);
  // What was written while it was paused is in a snapshot of its own.
  assert.deepEqual([told(lost), lost.toSeq], [both, forked.snapshotSeq]);
  for (const sessionId of [id, forked.id]) await atoll.client.call('session.end', { sessionId });
});

test('looking at what is there now does not make the next snapshot read everything', async () => {
  const id = await create();
  await run(id, 'mkdir many && for i in $(seq 3000); do echo $i > many/$i; done');
  const first = await turn(id);
  for (const n of [1, 2]) {
    await run(id, `echo ${n} > now`);
    assert.deepEqual(told(await diff(id, { from: first })), ['added now']);
  }
  await turn(id);
  const { snapshots } = await atoll.client.call('session.snapshots.list', { sessionId: id });
  const [one, two] = snapshots;
  assert.ok(one && two && one.storedBytes > 10 * two.storedBytes, JSON.stringify(snapshots));
  await atoll.client.call('session.end', { sessionId: id });
});

test('the command’s text, given to git, makes the one tree the other', async () => {
  const id = await create();
  await run(
    id,
    `mkdir -p src/deep && seq 100 > numbers && printf 'no end' > end && ln -s numbers link &&
     printf 'dos\\r\\n' > 'a name' && echo x > src/deep/gone && echo x > tool && echo 'ü' > 'grün "q"'`,
  );
  const first = await turn(id);
  const place = mkdtempSync(join(tmpdir(), 'atoll-diff-'));
  const workspace = join(atoll.dataDir, 'runner', 'workspaces', id, 'workspace');
  const git = (...words: string[]) => {
    const done = spawnSync('git', words, { cwd: place, encoding: 'utf8' });
    assert.equal(done.status, 0, done.stderr);
    return done.stdout;
  };
  cpSync(workspace, place, { recursive: true, verbatimSymlinks: true });
  await run(
    id,
    `sed -i 's/^5.$/five/' numbers && echo ' now' >> end && ln -sfn end link && printf 'dos\\r\\nmore\\r\\n' > 'a name' &&
     rm -r src && chmod +x tool && echo 'u' > 'grün "q"' && mkdir new && printf '#!/bin/sh\\n' > new/run && chmod +x new/run && : > new/empty`,
  );
  const patch = await cli(id, '--from', String(first));
  const applied = spawnSync('git', ['apply', '-v'], { cwd: place, input: patch, encoding: 'utf8' });
  assert.equal(applied.status, 0, applied.stderr + patch);
  const same = spawnSync('diff', ['-r', '--no-dereference', workspace, place], { encoding: 'utf8' });
  assert.equal(same.stdout, '');
  assert.equal(git('diff', '--no-index', '--', 'tool', join(workspace, 'tool')), '', 'modes, too');
  assert.equal(readFileSync(join(place, 'a name'), 'latin1'), 'dos\r\nmore\r\n');
  assert.match(await cli(id, '--stat'), /^A a name +2 \+$/m);
  const lines = (await cli(id, '--json')).trim().split('\n');
  assert.deepEqual(JSON.parse(lines[0] ?? ''), await diff(id));
  rmSync(place, { recursive: true });
  await atoll.client.call('session.end', { sessionId: id });
});
