/** A snapshot after a turn that changed little in a large workspace, and that workspace back from its blobs alone. */
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type AtollTarget, startAtollTarget } from './atoll-target.ts';
import { figureOf, median, takePairs, timed } from './pairs.ts';
import { atLeast, type Measure, row, within } from './row.ts';

const FILES = 20_000;
const MEAN_BYTES = 25_000;
const CHANGED_FILES = 3;
const CHANGED_BYTES = 20_000;
const MB = 1_000_000;

/** In 1,400 directories, half of it text and half random bytes, no two alike. */
const generate = `
const { mkdirSync, writeFileSync } = require('node:fs');
const { randomBytes, randomInt } = require('node:crypto');
const words = Array.from({ length: 400 }, () => randomBytes(4).toString('hex').slice(0, randomInt(3, 8)));
const text = (size) => { let all = ''; while (all.length < size) all += words[randomInt(400)] + ' '; return all.slice(0, size); };
for (let i = 0; i < ${FILES}; i++) {
  const directory = 'src/' + (i % 200) + '/' + (i % 7);
  mkdirSync(directory, { recursive: true });
  const size = randomInt(${MEAN_BYTES / 2}, ${MEAN_BYTES * 1.5});
  writeFileSync(directory + '/' + i, i % 2 ? randomBytes(size) : text(size));
}`;

export const snapshots: Measure = {
  name: 'snapshots',
  what: `a snapshot of ${CHANGED_FILES} changed files among ${FILES}, 500 MB in all, and all of it back`,
  async take({ pairs: count }) {
    await using atoll = await startAtollTarget({ sessions: 1 });
    const id = atoll.sessionIds[0] ?? '';
    const workspace = join(atoll.dataDir, 'runner', 'workspaces', id);
    await atoll.client.writeFile(id, 'generate.cjs', new TextEncoder().encode(generate));
    await exec(atoll, id, 'node generate.cjs && rm generate.cjs');
    await turnAndSnapshot(atoll, id);
    const stored: number[] = [];
    const taken = await takePairs(
      count,
      async () => {
        await exec(atoll, id, changes());
        const { ms, storedBytes } = await turnAndSnapshot(atoll, id);
        stored.push(storedBytes);
        return ms;
      },
      () => timed(async () => looks(workspace)),
    );
    const speeds = await restorations(atoll, { id, workspace, count });
    const changed = (CHANGED_FILES * CHANGED_BYTES) / 1024;
    return [
      row(
        'snapshot of 3 changed files among 20,000',
        'ms',
        figureOf(taken, (ms) => ms),
        { bar: within(400) },
      ),
      row('what it stores', 'KB', { ours: median(stored) / 1024, floor: changed }, { bar: asLittle }),
      row('resume from blobs alone, 500 MB', 'MB/s', speeds, { bar: atLeast(0.5) }),
    ];
  },
};

const asLittle = {
  text: '≤ 2 × + 64 KB',
  isMet: ({ ours, floor = 0 }: { ours: number; floor: number | undefined }) => ours <= 2 * floor + 64,
};

async function exec({ client }: AtollTarget, sessionId: string, command: string): Promise<void> {
  const { exitCode, stderr } = await client.call('session.exec', { sessionId, command, timeoutMs: 300_000 });
  if (exitCode !== 0) throw new Error(`${command} ended with ${exitCode}: ${stderr}`);
}

function changes(): string {
  const files = [1, 777, 15_000].map((i) => `src/${i % 200}/${i % 7}/${i}`);
  return files.map((file) => `head -c ${CHANGED_BYTES} /dev/urandom > ${file}`).join(' && ');
}

/** From the turn's `done` until its snapshot is committed. */
async function turnAndSnapshot(
  { client }: AtollTarget,
  sessionId: string,
): Promise<{ ms: number; storedBytes: number }> {
  await Array.fromAsync(client.send(sessionId, { content: 'go' }));
  const { session } = await client.call('session.show', { sessionId });
  const ms = await timed(() => client.call('session.state', { sessionId, at: session.lastSeq }));
  const { snapshots: all } = await client.call('session.snapshots.list', { sessionId, limit: 1000 });
  const last = all.at(-1);
  if (last?.status !== 'complete') throw new Error(`the snapshot is ${last?.status}: ${last?.detail}`);
  return { ms, storedBytes: last.storedBytes };
}

/** The floor: what any look at every file takes. */
function looks(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const at = join(directory, entry.name);
    lstatSync(at);
    if (entry.isDirectory()) looks(at);
  }
}

async function restorations(
  { client, dataDir }: AtollTarget,
  { id: sessionId, workspace, count }: { id: string; workspace: string; count: number },
) {
  await client.call('session.pause', { sessionId });
  const archive = join(dataDir, 'bench.tar');
  const out = join(dataDir, 'bench-out');
  const bytes = FILES * MEAN_BYTES;
  execFileSync('tar', ['cf', archive, '-C', workspace, '.']);
  const pairs = await takePairs(
    count,
    async () => {
      rmSync(workspace, { recursive: true });
      const ms = await timed(() => client.call('session.resume', { sessionId }));
      await client.call('session.pause', { sessionId });
      return (bytes / MB / ms) * 1000;
    },
    async () => {
      rmSync(out, { recursive: true, force: true });
      mkdirSync(out);
      const ms = await timed(async () => execFileSync('tar', ['xf', archive, '-C', out]));
      return (bytes / MB / ms) * 1000;
    },
  );
  return figureOf(pairs, (speed) => speed);
}
