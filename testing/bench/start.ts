/** From `atoll start` to a server that says it is healthy, against `node -e 0`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { figureOf, type Pair, timed } from './pairs.ts';
import { atMost, type Measure, row } from './row.ts';
import { createTimedClient } from './stream-times.ts';

const MAIN = fileURLToPath(new URL('../../packages/cli/src/main.mjs', import.meta.url));
/** What the last server left to be written or ended must not weigh on the next. */
const SETTLE_MS = 500;

export const start: Measure = {
  name: 'start',
  what: '`atoll start --json` to its first line and a healthy answer',
  async take({ pairs: count }) {
    const parent = mkdtempSync(join(tmpdir(), 'atoll-bench-start-'));
    const known = join(parent, 'known');
    const again: Pair<number>[] = [];
    const fresh: Pair<number>[] = [];
    try {
      await toHealthy(known);
      for (let i = 0; i < count; i++) {
        const floor = await timed(runNode);
        again.push({ ours: await toHealthy(known), floor });
        fresh.push({ ours: await toHealthy(join(parent, `fresh-${i}`)), floor: await timed(runNode) });
      }
    } finally {
      rmSync(parent, { recursive: true, force: true });
    }
    return [
      row(
        'start to healthy',
        'ms',
        figureOf(again, (ms) => ms),
        { bar: atMost(6), aim: atMost(4) },
      ),
      row(
        'start to healthy, new data directory',
        'ms',
        figureOf(fresh, (ms) => ms),
      ),
    ];
  },
};

async function toHealthy(dataDir: string): Promise<number> {
  const before = performance.now();
  const child = spawn(process.execPath, [MAIN, 'start', '--port', '0', '--data-dir', dataDir, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const { url } = JSON.parse(line.toString()) as { url: string };
  using client = createTimedClient();
  await client.get({ url: `${url}/health`, method: 'GET', headers: {} });
  const ms = performance.now() - before;
  await delay(SETTLE_MS);
  child.kill('SIGTERM');
  await once(child, 'exit');
  return ms;
}

async function runNode(): Promise<void> {
  await once(spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }), 'exit');
}
