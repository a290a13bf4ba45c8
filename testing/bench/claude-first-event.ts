/** A Claude that waited in the warm pool: how long after the first message its first events are at the client. */
import { once } from 'node:events';
import http from 'node:http';
import { json } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { type Atoll, deploy, startAtoll, until } from '../atoll.ts';
import { startMessagesApi } from '../stand-ins/messages-api.ts';
import { type FirstEvents, firstEvents, startBareClaude } from './bare-claude.ts';
import { figureOf, takePairs } from './pairs.ts';
import { send } from './request.ts';
import { atMostMore, type Measure, row } from './row.ts';
import { createTimedClient } from './stream-times.ts';
import { wantedSession, wantedTurn } from './target.ts';
import { folderOf, AGENT as PROGRAM } from './target-agent.ts';

const AGENT = 'claude';
const KEY = 'sk-ant-bench-0123456789';
/** Of a process that has just started, until it is as quiet as one that waits. */
const SETTLED_MS = 1_000;
const TURNS_BEFORE = 300;
const BAR = { bar: atMostMore(5, 'ms') };

export const claudeFirstEvent: Measure = {
  name: 'claude-first-event',
  what: 'a claimed Claude, from its first message to its first events; the floor is the SDK alone, prewarmed',
  async take({ pairs: count }) {
    const api = await startMessagesApi({ apiKey: KEY });
    const env = { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url };
    await using atoll = await startAtoll({ args: ['--capacity', '4'], env });
    await using _ = { [Symbol.asyncDispose]: () => api.close() };
    await serveTurns(atoll);
    await deploy(atoll.client, AGENT, { 'CLAUDE.md': 'Be brief.', 'atoll.json': '{"prewarm":1}' });
    const ours = () => askClaimed(atoll);
    const floor = () => askBare(api.url);
    await ours();
    const pairs = await takePairs(count, ours, floor);
    return [
      row(
        'claimed Claude, first event',
        'ms',
        figureOf(pairs, ({ first }) => first),
        BAR,
      ),
      row(
        'claimed Claude, `init`',
        'ms',
        figureOf(pairs, ({ init }) => init),
        BAR,
      ),
    ];
  },
};

/** A server is one that has been in use, as the bare SDK’s process has. */
async function serveTurns({ url, key, client }: Atoll): Promise<void> {
  await deploy(client, PROGRAM, folderOf());
  const { id: sessionId } = (await client.call('session.create', { agent: PROGRAM })).session;
  const headers = { authorization: `Bearer ${key}` };
  using timed = createTimedClient();
  for (let i = 0; i < TURNS_BEFORE; i++)
    await timed.stream(wantedTurn(`${url}/api/sessions/${sessionId}/messages`, headers, 'hello'));
  await client.call('session.end', { sessionId, purge: true });
}

async function askClaimed({ url, key, client }: Atoll): Promise<FirstEvents> {
  await until(async () => (await client.call('health.show', {})).pool.warm === 1, 60_000);
  await delay(SETTLED_MS);
  const headers = { authorization: `Bearer ${key}` };
  // Whoever sends the message made the session, over the same connection.
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const created = await send(wantedSession(`${url}/api/sessions`, headers, AGENT), agent);
  const sessionId = ((await json(created)) as { session: { id: string } }).session.id;
  const wanted = wantedTurn(`${url}/api/sessions/${sessionId}/messages`, headers, 'hello');
  const start = performance.now();
  const response = await send(wanted, agent);
  const at: Partial<FirstEvents> = {};
  response.on('data', (chunk: Buffer) => {
    const ms = performance.now() - start;
    const text = chunk.toString();
    if (text.includes('event: message\n')) at.first ??= ms;
    if (text.includes('"subtype":"init"')) at.init ??= ms;
  });
  await once(response, 'end');
  agent.destroy();
  await client.call('session.end', { sessionId, purge: true });
  return firstEvents(at);
}

async function askBare(url: string): Promise<FirstEvents> {
  await using bare = await startBareClaude({ url, key: KEY });
  await delay(SETTLED_MS);
  return await bare.ask(); // not before it answered is it closed
}
