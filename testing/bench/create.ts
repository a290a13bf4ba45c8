/** From nothing to a session whose sandbox is ready, against a bare bubblewrap sandbox that runs node and ends. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AtollTarget, startAtollTarget } from './atoll-target.ts';
import { runBareSandbox } from './bare-sandbox.ts';
import { figureOf, median, type Pair, timed } from './pairs.ts';
import { atMost, type Measure, row } from './row.ts';

const CREATES = 15;

export const create: Measure = {
  name: 'create',
  what: 'POST /api/sessions for a program agent, cold, p50',
  async take({ pairs: count, quick }) {
    await using atoll = await startAtollTarget({ sessions: 1 });
    const directory = mkdtempSync(join(tmpdir(), 'atoll-bench-bwrap-'));
    const pairs: Pair<number>[] = [];
    try {
      await takeRound(atoll, directory, 3);
      for (let i = 0; i < count; i++) pairs.push(await takeRound(atoll, directory, quick ? 5 : CREATES));
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
    const figure = figureOf(pairs, (ms) => ms);
    return [row('create, cold', 'ms', figure, { bar: atMost(1.8), aim: atMost(1.4) })];
  },
};

async function takeRound(atoll: AtollTarget, directory: string, creates: number): Promise<Pair<number>> {
  const ours: number[] = [];
  const floor: number[] = [];
  for (let i = 0; i < creates; i++) {
    ours.push(await timed(() => atoll.open()));
    await atoll.client.call('session.end', { sessionId: atoll.sessionIds.at(-1) ?? '', purge: true });
    floor.push(await timed(() => runBareSandbox(directory)));
  }
  return { ours: median(ours), floor: median(floor) };
}
