/** The worker: a ping, a flood of events to its host, and its start. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startAtollTarget } from './atoll-target.ts';
import { figureOf, type Pair, percentile, takePairs, timed } from './pairs.ts';
import { startReader } from './reader.ts';
import { atLeast, atMost, type Goal, type Measure, type Row, row, type Scale } from './row.ts';
import { AGENT } from './target-agent.ts';
import { EVENTS } from './throughput.ts';
import { type PipeHost, pipeHost, spawnWorker } from './worker-target.ts';

const ECHO = fileURLToPath(new URL('echo-lines.mjs', import.meta.url));
const PINGS = 500;
const MESSAGE_BYTES = 250;
const PING_BAR: Goal = { text: '≤ 0.3 ms', isMet: ({ ours }) => ours <= 0.3 };

export const worker: Measure = {
  name: 'worker',
  what: `${PINGS} pings a round over stdio; ${EVENTS} messages in one turn, to the host and by SSE; spawn to \`ready\``,
  async take(scale) {
    const parent = mkdtempSync(join(tmpdir(), 'atoll-bench-worker-'));
    try {
      const dataDir = join(parent, 'data');
      return [await pings(dataDir, scale), await floods(dataDir, scale), await starts(dataDir, scale)];
    } finally {
      rmSync(parent, { recursive: true, force: true });
    }
  },
};

async function pings(dataDir: string, { pairs: count }: Scale): Promise<Row> {
  const host = spawnWorker(dataDir);
  await host.until('"ready"');
  const echo = pipeHost([ECHO]);
  for (const each of [host, echo]) await pingsOf(each);
  const pairs = await takePairs(
    count,
    () => pingsOf(host),
    () => pingsOf(echo),
  );
  await Promise.all([host.end(), echo.end()]);
  return row(
    'worker, ping, p50',
    'ms',
    figureOf(pairs, (ms) => ms),
    { bar: PING_BAR },
  );
}

async function pingsOf(host: PipeHost): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < PINGS; i++) times.push(await timed(() => host.call('ping', {})));
  return percentile(times, 50);
}

async function floods(dataDir: string, { pairs: count }: Scale): Promise<Row> {
  await using atoll = await startAtollTarget({ sessions: 1 });
  await using reader = startReader();
  const host = spawnWorker(dataDir);
  await host.until('"ready"');
  const sessionId = await openSession(host);
  const overPipe = () => floodOver(host, sessionId);
  const bySse = async () => perSecond((await reader.read([atoll.turn(0, `emit ${EVENTS}`)])).ms);
  for (const warm of [overPipe, bySse]) await warm();
  const pairs = await takePairs(count, overPipe, bySse);
  await host.end();
  return row(
    'worker, events to the host (floor: our SSE)',
    'events/s',
    figureOf(pairs, (each) => each),
    { bar: atLeast(0.8) },
  );
}

async function openSession(host: PipeHost): Promise<string> {
  const file = (path: string, text: string | Buffer) => ({
    path,
    content: Buffer.from(text).toString('base64'),
  });
  const config = { executor: { kind: 'program', command: ['node', 'agent.mjs'] } };
  const program = readFileSync(new URL('program.mjs', import.meta.url));
  const files = [file('agent.mjs', program), file('atoll.json', JSON.stringify(config))];
  await host.call('agent.deploy', { name: AGENT, files });
  const [sessionId] = /ses_\w+/.exec(await host.call('session.create', { agent: AGENT })) ?? [];
  if (sessionId === undefined) throw new Error('the worker opened no session');
  await host.call('session.subscribe', { sessionId });
  return sessionId;
}

async function floodOver(host: PipeHost, sessionId: string): Promise<number> {
  const params = { sessionId, content: `emit ${EVENTS}` };
  const start = performance.now();
  const done = host.until('"event":"done"');
  host.write(`${JSON.stringify({ jsonrpc: '2.0', id: 'flood', method: 'session.send', params })}\n`);
  const { bytes } = await done;
  if (bytes < EVENTS * MESSAGE_BYTES) throw new Error(`${bytes} bytes are fewer than the messages have`);
  return perSecond(performance.now() - start);
}

function perSecond(ms: number): number {
  return (EVENTS * 1000) / ms;
}

async function starts(dataDir: string, { pairs: count }: Scale): Promise<Row> {
  const pairs: Pair<number>[] = [];
  for (let i = 0; i < count; i++) pairs.push({ ours: await toReady(dataDir), floor: await timed(runNode) });
  return row(
    'worker, spawn to `ready`',
    'ms',
    figureOf(pairs, (ms) => ms),
    { bar: atMost(8) },
  );
}

async function toReady(dataDir: string): Promise<number> {
  const before = performance.now();
  const host = spawnWorker(dataDir);
  await host.until('"ready"');
  const ms = performance.now() - before;
  await host.end();
  return ms;
}

async function runNode(): Promise<void> {
  await once(spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }), 'exit');
}
