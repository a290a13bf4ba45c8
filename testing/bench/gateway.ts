/** What the gateway adds to model calls, against the same calls without it, and what a stream through it keeps in memory. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { deployProgram, startAtoll } from '../atoll.ts';
import type { Asked } from './bare-model.ts';
import { figureOf, median, type Pair, takePairs, timed } from './pairs.ts';
import { rssMbOf } from './processes.ts';
import { send } from './request.ts';
import { atMostMore, type Measure, row } from './row.ts';

const CALLS = 200;
const CHUNKS = 200;
const CHUNK_EVERY_MS = 2;
const STREAMS = 200;
/** Before those that count: what the first ones load and make room for is no stream's own. */
const WARMING_STREAMS = 20;
const SETTLE_MS = 1000;
/** Memory hardly varies, and each pair starts two servers. */
const MAX_MEMORY_PAIRS = 5;

type Way = { url: string; pid: number } & AsyncDisposable;
type Latency = { call: number; chunk: number };

export const gateway: Measure = {
  name: 'gateway',
  what: `model calls through the gateway: ${CALLS} calls, ${CHUNKS} chunks, ${STREAMS} streams at once`,
  async take({ pairs: count }) {
    await using model = await startBare([]);
    const latencies = await takeLatencies(count, model.url);
    const grown = await takePairs(
      Math.min(count, MAX_MEMORY_PAIRS),
      () => growthOf(() => startOurs(model.url)),
      () => growthOf(() => startBare([model.url])),
    );
    const call = figureOf(latencies, (each) => each.call);
    const chunk = figureOf(latencies, (each) => each.chunk);
    const memory = figureOf(grown, (kb) => kb);
    return [
      row('model call through the gateway, p50', 'ms', call, { bar: atMostMore(1, 'ms') }),
      row('chunk through the gateway, p50', 'ms', chunk, { bar: atMostMore(0.1, 'ms') }),
      row('memory of a stream through the gateway (floor: a bare one)', 'KB', memory, {
        bar: atMostMore(20, 'KB'),
      }),
    ];
  },
};

async function takeLatencies(count: number, direct: string): Promise<Pair<Latency>[]> {
  await using ours = await startOurs(direct);
  const agent = new http.Agent({ keepAlive: true });
  const latency = async (url: string): Promise<Latency> => ({
    call: await callMs(url, agent),
    chunk: await chunkMs(url, agent),
  });
  const pairs = await takePairs(
    count + 1,
    () => latency(ours.url),
    () => latency(direct),
  );
  agent.destroy();
  // The first one warms.
  return pairs.slice(1);
}

function wanted(url: string, asked: Asked) {
  const headers = { 'content-type': 'application/json' };
  return { url: `${url}/v1/messages`, method: 'POST' as const, headers, body: JSON.stringify(asked) };
}

async function callMs(url: string, agent: http.Agent): Promise<number> {
  const times: number[] = [];
  for (let count = 0; count < CALLS; count++)
    times.push(
      await timed(async () => {
        const answer = await send(wanted(url, { chunks: 1, everyMs: 0, hold: false }), agent);
        await once(answer.resume(), 'end');
      }),
    );
  return median(times);
}

async function chunkMs(url: string, agent: http.Agent): Promise<number> {
  const times: number[] = [];
  const answer = await send(wanted(url, { chunks: CHUNKS, everyMs: CHUNK_EVERY_MS, hold: false }), agent);
  for await (const chunk of answer) {
    const nowUs = Number(process.hrtime.bigint() / 1000n);
    const written = Number(/"writtenUs":(\d+)/.exec(String(chunk))?.[1]);
    times.push((nowUs - written) / 1000);
  }
  return median(times);
}

/** Of the process's RSS, for each of many streams that are open and have begun, in KB. */
async function growthOf(start: () => Promise<Way>): Promise<number> {
  await using way = await start();
  const agent = new http.Agent();
  const open = (streams: number) =>
    Promise.all(
      Array.from({ length: streams }, async () => {
        const answer = await send(wanted(way.url, { chunks: 1, everyMs: 0, hold: true }), agent);
        await once(answer, 'data');
        return answer;
      }),
    );
  for (const answer of await open(WARMING_STREAMS)) answer.destroy();
  await delay(SETTLE_MS);
  const before = rssMbOf(way.pid);
  const streams = await open(STREAMS);
  await delay(SETTLE_MS);
  const grown = rssMbOf(way.pid) - before;
  for (const answer of streams) answer.destroy();
  return (grown * 1024) / STREAMS;
}

/** A server whose gateway is on loopback, where this process can call it as an executor would. */
async function startOurs(model: string): Promise<Way> {
  const atoll = await startAtoll({
    args: ['--driver', 'process'],
    env: { ANTHROPIC_API_KEY: 'sk-ant-of-the-bench-0123456789', ANTHROPIC_BASE_URL: model },
  });
  await deployProgram(atoll.client, 'bench', 'setInterval(() => {}, 60000);');
  const { session } = await atoll.client.call('session.create', { agent: 'bench' });
  const command = 'printf %s "$ANTHROPIC_BASE_URL"';
  const { stdout } = await atoll.client.call('session.exec', { sessionId: session.id, command });
  return { url: stdout, pid: atoll.pid, [Symbol.asyncDispose]: () => atoll[Symbol.asyncDispose]() };
}

async function startBare(args: string[]): Promise<Way> {
  const program = fileURLToPath(new URL('bare-model.ts', import.meta.url));
  const child: ChildProcess = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout ?? child, 'data')) as [Buffer];
  return {
    url: line.toString().trim(),
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      child.kill();
      await once(child, 'exit');
    },
  };
}
