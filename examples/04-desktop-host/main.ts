/**
 * The app's main process: it alone has the worker. The window gets a port to ask it for two things, and main checks what
 * comes through, as the window shows what agents wrote.
 */
import { readFile } from 'node:fs/promises';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { connectWorker, eventData, type WorkerClient } from '@atoll/client/worker';
import * as v from 'valibot';
import type { Reply } from './api.ts';

const requestSchema = v.object({
  id: v.number(),
  method: v.picklist(['add', 'list']),
  args: v.array(v.string()),
});

const AGENT = new URL('../02-program/', import.meta.url);

const [dataDir = './data'] = process.argv.slice(2);
await using worker = await connectWorker({ args: ['--data-dir', dataDir] });
const sessionId = await openSession(worker);
const shown = await openWindow(worker, sessionId);
await worker.call('session.end', { sessionId });
console.log(JSON.stringify(shown));

async function openSession(on: WorkerClient): Promise<string> {
  const files = ['agent.mjs', 'atoll.json'].map(async (path) => ({
    path,
    content: await readFile(new URL(path, AGENT), 'base64'),
  }));
  await on.call('agent.deploy', { name: 'notes', files: await Promise.all(files) });
  const { session } = await on.call('session.create', { agent: 'notes' });
  return session.id;
}

/** Resolves with what the window shows when it closes itself. */
async function openWindow(on: WorkerClient, session: string): Promise<unknown> {
  const { port1: ours, port2: port } = new MessageChannel();
  const closed = new AbortController();
  const told = tellSteps(on, session, ours, closed.signal);
  ours.on('message', async (request: unknown) => {
    const { success, output } = v.safeParse(requestSchema, request);
    if (success) ours.postMessage(await answer(on, session, output));
  });
  const window = new Worker(new URL('renderer.ts', import.meta.url), {
    workerData: { port },
    transferList: [port],
    env: {},
  });
  try {
    return await new Promise((resolve, reject) => window.once('message', resolve).once('error', reject));
  } finally {
    closed.abort();
    ours.close();
    await Promise.all([window.terminate(), told]);
  }
}

async function tellSteps(
  on: WorkerClient,
  session: string,
  port: MessagePort,
  signal: AbortSignal,
): Promise<void> {
  for await (const { seq = 0, event } of on.events(session, { signal }))
    port.postMessage({ id: undefined, step: { seq, event } } satisfies Reply);
}

async function answer(
  on: WorkerClient,
  session: string,
  { id, method, args }: v.InferOutput<typeof requestSchema>,
): Promise<Reply> {
  try {
    const [note] = args;
    if (method === 'list') return { id, value: await ask(on, session, 'list') };
    if (!note) throw new Error('the window may add a note that is not empty');
    return { id, value: await ask(on, session, note) };
  } catch (error) {
    return { id, error: error instanceof Error ? error.message : String(error) };
  }
}

/** One turn: what the agent said in it. */
async function ask(on: WorkerClient, session: string, content: string): Promise<string> {
  const { session: before } = await on.call('session.show', { sessionId: session });
  await on.call('session.send', { sessionId: session, content });
  const said: string[] = [];
  for await (const event of on.events(session, { after: before.lastSeq })) {
    if (event.event === 'message') said.push(event.text);
    const done = eventData(event, 'done');
    if (done) {
      if (done.status !== 'completed') throw new Error(`the turn ended: ${done.cause ?? done.status}`);
      break;
    }
  }
  return said.join('\n');
}
