/**
 * A disk that is really full, below the blobs of snapshots, what runners keep beside workspaces, or the workspaces: every
 * end has a status that is legal and a cause (I10), what was kept stays whole, and with room again the session goes on.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll } from '../atoll.ts';

type Disk = { readonly dataDir: string; fill(): void; free(): void; [Symbol.dispose](): void };

/** A small file system of its own in a new data directory; undefined where this user may not mount one. */
function mountDisk(place: string, size: string): Disk | undefined {
  const root = mkdtempSync(join(tmpdir(), 'atoll-disk-'));
  // Not in the data directory, which goes before it is unmounted.
  const at = join(root, 'disk');
  const dataDir = join(root, 'data');
  mkdirSync(at);
  mkdirSync(dirname(join(dataDir, place)), { recursive: true });
  symlinkSync(at, join(dataDir, place));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=711`, 'tmpfs', at], { stdio: 'ignore' });
  } catch {
    rmSync(root, { recursive: true });
    return undefined;
  }
  const filler = join(at, 'filler');
  return {
    dataDir,
    fill() {
      const fd = openSync(filler, 'w');
      for (const length of [65536, 4096, 1]) {
        try {
          while (writeSync(fd, new Uint8Array(length).fill(1)) === length);
        } catch (error) {
          assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
        }
      }
      closeSync(fd);
    },
    free: () => rmSync(filler),
    [Symbol.dispose]() {
      execFileSync('umount', ['-l', at]);
      rmSync(root, { recursive: true });
    },
  };
}

const mayMount = (() => {
  using disk = mountDisk('probe', '64k');
  return disk !== undefined;
})();
const skip = mayMount ? false : 'only root may mount a small disk';

class Session {
  readonly id: string;
  readonly #atoll: Atoll;

  constructor(atoll: Atoll, id: string) {
    this.#atoll = atoll;
    this.id = id;
  }

  static async begin(atoll: Atoll): Promise<Session> {
    await deployProgram(atoll.client, 'versatile', versatile);
    const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
    const made = new Session(atoll, session.id);
    await made.say('remember first');
    await made.settled();
    return made;
  }

  async say(content: string): Promise<string> {
    const events = await Array.fromAsync(this.#atoll.client.send(this.id, { content }));
    return events.map(({ text }) => text).join('\n');
  }

  async exec(command: string) {
    return this.#atoll.client.call('session.exec', { sessionId: this.id, command });
  }

  /** Answered when the snapshot of its last event is over, however that went. */
  async settled(): Promise<void> {
    const { lastSeq: at } = await this.shown();
    await this.#atoll.client.call('session.state', { sessionId: this.id, at });
  }

  async shown() {
    return (await this.#atoll.client.call('session.show', { sessionId: this.id })).session;
  }

  async status(): Promise<(string | null)[]> {
    const { status, cause } = await this.shown();
    return [status, cause];
  }

  pause = () => this.#atoll.client.call('session.pause', { sessionId: this.id });

  /** Why it could not be, if so. */
  async resume(): Promise<string | undefined> {
    return this.#atoll.client.call('session.resume', { sessionId: this.id }).then(
      () => undefined,
      (error: Error) => error.message,
    );
  }

  async fork(): Promise<Session> {
    const { session } = await this.#atoll.client.call('session.fork', { sessionId: this.id });
    return new Session(this.#atoll, session.id);
  }

  async files(): Promise<string[]> {
    const { files } = await this.#atoll.client.call('session.files.list', { sessionId: this.id });
    return files.map(({ path }) => path);
  }

  /** How its last snapshot went. */
  async lastSnapshot() {
    await this.settled();
    const { snapshots } = await this.#atoll.client.call('session.snapshots.list', { sessionId: this.id });
    return [snapshots.at(-1)?.status, snapshots.at(-1)?.cause];
  }

  async loseFiles(): Promise<void> {
    await this.pause();
    await rm(join(this.#atoll.dataDir, 'runner', 'workspaces', this.id), { recursive: true });
  }
}

test('the blob store is full', { skip }, async () => {
  using disk = mountDisk('snapshots', '4m');
  await using atoll = await startAtoll({ dataDir: disk?.dataDir ?? '' });
  const session = await Session.begin(atoll);
  disk?.fill();
  await session.exec('head -c 300000 /dev/urandom > big');
  await session.say('remember second');
  assert.deepEqual(await session.lastSnapshot(), ['failed', 'storage_failed']);
  assert.deepEqual((await session.status())[0], 'idle');
  await session.pause();
  assert.deepEqual(await session.status(), ['paused', 'paused']);
  assert.deepEqual(await session.lastSnapshot(), ['failed', 'storage_failed']);
  assert.equal(await session.resume(), undefined);
  assert.match(await session.say('recall'), /"second"/);
  // The snapshot of before is whole, and can be gone back to.
  const forked = await session.fork();
  assert.deepEqual(await forked.status(), ['paused', 'forked']);
  assert.ok((await forked.files()).includes('agent.mjs'));
  assert.match(await forked.say('recall'), /"first"/);
  disk?.free();
  await session.say('remember third');
  assert.deepEqual(await session.lastSnapshot(), ['complete', null]);
  await session.loseFiles();
  assert.match(await session.say('recall'), /"third"/);
  assert.equal((await session.exec('stat -c %s big')).stdout, '300000\n');
});

test('what a runner keeps beside its workspaces has no room', { skip }, async () => {
  using disk = mountDisk('runner/records', '256k');
  await using atoll = await startAtoll({ dataDir: disk?.dataDir ?? '' });
  const session = await Session.begin(atoll);
  disk?.fill();
  await session.exec('echo x > new');
  await session.say('remember second');
  assert.deepEqual(await session.lastSnapshot(), ['complete', null]);
  await session.pause();
  assert.deepEqual(await session.status(), ['paused', 'paused']);
  assert.match((await session.resume()) ?? '', /ENOSPC|full/);
  const [status, cause] = await session.status();
  assert.equal(status, 'paused');
  assert.match(cause ?? '', /_failed$/);
  disk?.free();
  assert.match(await session.say('recall'), /"second"/);
  await session.say('remember third');
  await session.loseFiles();
  assert.match(await session.say('recall'), /"third"/);
});

test('the whole disk of a runner is full', { skip }, async () => {
  using disk = mountDisk('runner', '8m');
  await using atoll = await startAtoll({ dataDir: disk?.dataDir ?? '' });
  const session = await Session.begin(atoll);
  disk?.fill();
  assert.notEqual((await session.exec('head -c 300000 /dev/urandom > big')).exitCode, 0);
  await session.say('echo x');
  assert.deepEqual(await session.lastSnapshot(), ['complete', null]);
  const forked = await session.fork();
  await assert.rejects(forked.files(), { code: 'storage_failed' });
  assert.match((await forked.resume()) ?? '', /full|ENOSPC/);
  const [status, cause] = await forked.status();
  assert.equal(status, 'paused');
  assert.match(cause ?? '', /_failed$/);
  await session.pause();
  assert.deepEqual(await session.status(), ['paused', 'paused']);
  disk?.free();
  assert.match(await forked.say('recall'), /"first"/);
  assert.match(await session.say('recall'), /"first"/);
  await session.say('remember second');
  await session.loseFiles();
  assert.match(await session.say('recall'), /"second"/);
});
