/** What a snapshot and its restoration do to the file system, in their order, and a session that goes through them. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { versatile } from './agents.ts';
import { type Atoll, deployProgram, startAtoll, until } from './atoll.ts';
import { createFaults, type Fault, type Faults } from './fs-faults.ts';

export type Step = Pick<Fault, 'call' | 'path' | 'nth' | 'afterMs'>;

/** By what they are for. Their processes stand still from the first of `SIGSTOP` to the first of `SIGCONT`. */
export const takingSteps: Readonly<Record<string, Step>> = {
  'standing still': { call: 'SIGSTOP', nth: 1 },
  'some stand still': { call: 'SIGSTOP', nth: 2 },
  'a directory is read': { call: 'readdirSync', path: '/proc/self/fd/', nth: 2 },
  'an entry is looked at': { call: 'lstatSync', nth: 7 },
  'a file is opened': { call: 'openSync', nth: 5 },
  'a file is read': { call: 'readSync', nth: 2 },
  'a link is read': { call: 'readlinkSync', nth: 1 },
  'a folder for a blob': { call: 'mkdir', path: '/snapshots/', nth: 1 },
  'a blob is begun': { call: 'open', path: '/snapshots/tmp/', nth: 1 },
  'a blob is written': { call: 'file.writeFile', path: '/snapshots/tmp/', nth: 1 },
  'a blob reaches the disk': { call: 'file.datasync', path: '/snapshots/tmp/', nth: 1 },
  'a blob gets its name': { call: 'rename', path: '/snapshots/tmp/', nth: 1 },
  'its name reaches the disk': { call: 'file.sync', path: '/snapshots/', nth: 1 },
  'the segment': { call: 'rename', path: '/snapshots/tmp/', nth: 2 },
  'the root': { call: 'rename', path: '/snapshots/tmp/', nth: 3 },
  'going on': { call: 'SIGCONT', nth: 1 },
};

/** Of the taking: after its last blob, around the commit of its row, and when what is known goes to disk. */
export const lateSteps: Readonly<Record<string, Step>> = {
  'before its row': { call: 'rename', path: '/snapshots/tmp/', nth: 3, afterMs: 30 },
  'about its row': { call: 'rename', path: '/snapshots/tmp/', nth: 3, afterMs: 110 },
  'what is known is written': { call: 'writeFile', path: '.tree', nth: 1 },
  'what is known gets its name': { call: 'rename', path: '.tree', nth: 1 },
};

export const restoringSteps: Readonly<Record<string, Step>> = {
  'the root is read': { call: 'readFile', path: '/snapshots/', nth: 1 },
  'a segment is read': { call: 'readFile', path: '/snapshots/', nth: 2 },
  'a pack is read': { call: 'readFile', path: '/snapshots/', nth: 3 },
  'a directory is made': { call: 'mkdirSync', nth: 1 },
  'a file is made': { call: 'openSync', nth: 3 },
  'a file is written': { call: 'writeSync', nth: 2 },
  'a file gets its owner': { call: 'fchownSync', nth: 1 },
  'a file gets its mode': { call: 'fchmodSync', nth: 2 },
  'a file gets its time': { call: 'futimesSync', nth: 1 },
  'a link is made': { call: 'symlinkSync', nth: 1 },
  'another name is made': { call: 'linkSync', nth: 1 },
  'its epoch is written': { call: 'writeFile', path: '.epoch', nth: 1 },
  'its epoch gets its name': { call: 'rename', path: '.epoch', nth: 1 },
};

export type Stage = {
  readonly atoll: Atoll;
  readonly faults: Faults;
  /** A session that remembers `first`, with a tree of files, all of it in a snapshot. */
  begin(): Promise<string>;
  say(id: string, content: string): Promise<string>;
  /** What the runner holds is gone, and the session has no sandbox. */
  loseFiles(id: string): Promise<void>;
  /** It remembers that, its tree is there whole, and its processes run. */
  assertWhole(id: string, remembered: string): Promise<void>;
  /** Files that are there for a moment only, anywhere in the data directory. */
  temporaryFiles(): Promise<string[]>;
  [Symbol.asyncDispose](): Promise<void>;
};

const TREE = [
  'mkdir -p d/e/f d/empty && echo moored > d/ship && ln -s ship d/link && ln d/ship d/same',
  'head -c 3000 /dev/zero > d/zeros && chmod 700 d/e && echo deep > d/e/f/deep',
].join(' && ');
const LOOK = 'cat d/link d/same d/e/f/deep && stat -c "%a %h %s" d/ship d/e d/zeros && ls -A d';

export async function openStage(args: readonly string[] = []): Promise<Stage> {
  const plans = await mkdtemp(join(tmpdir(), 'atoll-faults-'));
  const faults = createFaults(join(plans, 'plan.json'));
  const atoll = await startAtoll({ args, nodeArgs: faults.nodeArgs });
  await deployProgram(atoll.client, 'versatile', versatile);
  let whole = '';

  const exec = async (sessionId: string, command: string) => {
    const { exitCode, stdout, stderr } = await atoll.client.call('session.exec', { sessionId, command });
    assert.equal(exitCode, 0, stderr);
    return stdout;
  };
  const say = async (id: string, content: string) => {
    const events = await Array.fromAsync(atoll.client.send(id, { content }));
    return events.map(({ text }) => text).join('\n');
  };

  return {
    atoll,
    faults,
    say,
    async begin() {
      const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
      await exec(session.id, TREE);
      whole = await exec(session.id, LOOK);
      await say(session.id, 'remember first');
      await atoll.client.call('session.state', { sessionId: session.id });
      await until(async () => {
        const { snapshots } = await atoll.client.call('session.snapshots.list', { sessionId: session.id });
        return snapshots.at(-1)?.status === 'complete';
      });
      return session.id;
    },
    async loseFiles(sessionId) {
      const { session } = await atoll.client.call('session.show', { sessionId });
      if (session.status !== 'paused') await atoll.client.call('session.pause', { sessionId });
      await rm(join(atoll.dataDir, 'runner', 'workspaces', sessionId), { recursive: true, force: true });
    },
    async assertWhole(id, remembered) {
      assert.match(await say(id, 'recall'), new RegExp(`"${remembered}"`));
      assert.equal(await exec(id, LOOK), whole);
    },
    async temporaryFiles() {
      const entries = await readdir(atoll.dataDir, { recursive: true, withFileTypes: true });
      const files = entries.filter((entry) => entry.isFile());
      const isTemporary = (at: string) => at.endsWith('.tmp') || at.includes('/snapshots/tmp/');
      return files.map((entry) => join(entry.parentPath, entry.name)).filter(isTemporary);
    },
    async [Symbol.asyncDispose]() {
      faults.clear();
      await atoll[Symbol.asyncDispose]();
      await rm(plans, { recursive: true, force: true });
      assert.ok(!existsSync(plans));
    },
  };
}
