import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite } from '../store/sqlite-database.ts';
import { chunkOf, framesOf, logContract, range, readAll } from './log.contract.ts';
import { logCompactionContract } from './log-compaction.contract.ts';
import { logForksContract } from './log-forks.contract.ts';
import { logRetireContract } from './log-retire.contract.ts';
import { createSqliteLog } from './sqlite.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-log-'));
after(() => rmSync(root, { recursive: true, force: true }));
const child = join(import.meta.dirname, 'sqlite-append.child.ts');

async function open(path: string) {
  const opening = openSqlite({ path });
  const kysely = await loadKysely();
  const database = await opening;
  return { store: createSqliteStore(database, kysely), log: createSqliteLog(database) };
}

logContract('sqlite', () => open(join(root, 'contract.db')));
logForksContract('sqlite', () => open(join(root, 'forks.db')));
logRetireContract('sqlite', () => open(join(root, 'retire.db')));
logCompactionContract('sqlite', () => open(join(root, 'compaction.db')));

test('sqlite: what was acknowledged survives kill -9, dense and whole (I1, I2)', async () => {
  const path = join(root, 'killed.db');
  for (let kill = 0; kill < 3; kill++) {
    rmSync(path, { force: true });
    const acknowledged = await runAndKill(path, 150 + kill * 90);
    const { store, log } = await open(path);
    for (const [id, seq] of acknowledged) {
      const lastSeq = (await log.head(id))?.lastSeq ?? 0;
      assert.ok(lastSeq >= seq, `${id} acknowledged ${seq} and holds ${lastSeq}`);
      assert.ok(Buffer.from(await readAll(log, id)).equals(framesOf(1, lastSeq)));
      await log.append(chunkOf(id, lastSeq + 1, 1));
    }
    await store.close();
  }
});

/** The highest acknowledged seq of each log, of a process that is killed after so many acknowledgements. */
async function runAndKill(path: string, afterLines: number): Promise<Map<string, number>> {
  const acknowledged = new Map<string, number>();
  const running = spawn(process.execPath, [child, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(running, 'exit');
  let lines = 0;
  for await (const line of createInterface({ input: running.stdout })) {
    const [id = '', seq] = line.split(' ');
    acknowledged.set(id, Number(seq));
    if (++lines === afterLines) running.kill('SIGKILL');
  }
  await exited;
  assert.ok(lines >= afterLines);
  return acknowledged;
}

// A file system of 4 MB in a mount namespace of the child's own: real ENOSPC, and nothing is left behind.
const inOwnMounts = ['-rm', 'sh', '-c'];
const canMount = spawnSync('unshare', [...inOwnMounts, 'mount -t tmpfs -o size=4m tmpfs /mnt']).status === 0;

test('sqlite: a full disk refuses, keeps what is there, and does not break the store', {
  skip: canMount ? false : 'needs unshare and mount',
}, async () => {
  const script = `mount -t tmpfs -o size=4m tmpfs /mnt && head -c 1000000 /dev/zero > /mnt/a.db.ballast &&
    exec "$0" "$1" /mnt/a.db full`;
  const { stdout } = await promisify(execFile)('unshare', [...inOwnMounts, script, process.execPath, child]);
  const [refused = '', head = '', usable = '', closed] = stdout.split('\n');
  assert.match(refused, /^refused storage_failed: .*(full|I\/O)/);
  const [, held, acknowledged] = /^head (\d+) of (\d+)$/.exec(head) ?? [];
  assert.ok(Number(held) > 0);
  assert.equal(held, acknowledged);
  assert.equal(usable, `usable ${Number(held) + 1}`);
  assert.equal(closed, 'closed');
});

test('sqlite: a flood of 300 MB, read at the same time, leaves the WAL bounded', async () => {
  const path = join(root, 'flood.db');
  const { store, log } = await open(path);
  await store.commit(log.create({ id: 'log_f', tenant: 'a', sessionId: 's', epoch: 1, createdAt: '' }));
  const frames = [framesOf(1, 1, 350 * 1024)];
  let largest = 0;
  for (let seq = 1; seq <= 1200; seq += 4) {
    await Promise.all(range(seq, seq + 3).map((at) => log.append(chunkOf('log_f', at, 1, { frames }))));
    await log.read({ logId: 'log_f', after: Math.max(0, seq - 20), maxBytes: 1024 * 1024 });
    largest = Math.max(largest, statSync(`${path}-wal`).size);
  }
  assert.ok(largest < 64 * 1024 * 1024, `the WAL grew to ${largest} bytes`);
  assert.equal((await log.head('log_f'))?.lastSeq, 1200);
  await store.close();
});
