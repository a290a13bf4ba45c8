/** How many sandboxes are made in a second when nothing waits for anybody, several being asked for at a time. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Atoll, deploy, startAtoll } from '../atoll.ts';
import { runBareSandbox } from './bare-sandbox.ts';
import { figureOf, takePairs, timed } from './pairs.ts';
import { type Measure, noLess, row } from './row.ts';

const CREATES = 40;
const AT_ONCE = 4;

const AGENT = 'light';
/** Its own start costs next to nothing, so that the platform's is what is seen. */
const FOLDER = {
  'agent.sh': `while read -r line; do echo '{"type":"result"}'; done\n`,
  'atoll.json': JSON.stringify({ executor: { kind: 'program', command: ['sh', 'agent.sh'] } }),
};

export const coldCreates: Measure = {
  name: 'cold-creates',
  what: `${CREATES} bare sandboxes, and as many sessions of a shell script, ${AT_ONCE} at a time, each until it is ready`,
  async take({ pairs: count }) {
    await using atoll = await startAtoll({ args: ['--capacity', String(2 * CREATES)] });
    await deploy(atoll.client, AGENT, FOLDER);
    const directory = mkdtempSync(join(tmpdir(), 'atoll-bench-bwrap-'));
    try {
      const floor = () => perSecond(() => runBareSandbox(directory));
      const bare = () => sandboxesPerSecond(atoll);
      const sessions = () => sessionsPerSecond(atoll);
      await bare();
      const ofBare = figureOf(await takePairs(count, bare, floor), (each) => each);
      const ofSessions = figureOf(await takePairs(count, sessions, floor), (each) => each);
      return [
        row('cold creates, bare sandboxes', '/s', ofBare, { bar: noLess(19.4, '/s') }),
        row('cold creates, sessions', '/s', ofSessions, { bar: noLess(19.4, '/s') }),
      ];
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
};

/** They run on until all are there; their end is not in the time. */
async function sandboxesPerSecond({ client }: Atoll): Promise<number> {
  const ids: string[] = [];
  const rate = await perSecond(async () => {
    ids.push((await client.call('sandbox.create', { wait: true })).sandbox.id);
  });
  for (const sandboxId of ids) await client.call('sandbox.delete', { sandboxId, wait: true });
  return rate;
}

/** With an agent's folder, its program started, a log and a first event. */
async function sessionsPerSecond({ client }: Atoll): Promise<number> {
  const ids: string[] = [];
  const rate = await perSecond(async () => {
    ids.push((await client.call('session.create', { agent: AGENT })).session.id);
  });
  for (const sessionId of ids) await client.call('session.end', { sessionId, purge: true });
  return rate;
}

async function perSecond(work: () => Promise<void>): Promise<number> {
  let left = CREATES;
  const one = async () => {
    while (left-- > 0) await work();
  };
  const ms = await timed(() => Promise.all(Array.from({ length: AT_ONCE }, one)));
  return (CREATES * 1000) / ms;
}
