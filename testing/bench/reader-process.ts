/** The SSE client's process (see reader.ts): counts bytes, and looks at the last ones for `done`. */
import http from 'node:http';
import type { ReaderReply, ReaderRequest } from './reader.ts';
import { send } from './request.ts';
import type { Wanted } from './target.ts';

const DONE = 'event: done\n';
/** More than any `done` frame has. */
const TAIL_BYTES = 2048;
const agent = new http.Agent({ keepAlive: true });

process.on('message', (request: ReaderRequest) => {
  answer(request).then(
    (reply) => process.send?.(reply),
    (error: unknown) => process.send?.({ kind: 'failed', detail: String(error) } satisfies ReaderReply),
  );
});
process.on('disconnect', () => process.exit(0));

async function answer({ kind, wanted, repeatMs }: ReaderRequest): Promise<ReaderReply> {
  if (kind === 'trickle') {
    await Promise.all(wanted.map(trickle));
    return { kind: 'read', bytes: 0, turns: 0, ms: 0 };
  }
  const start = performance.now();
  const counts = await Promise.all(wanted.map((each) => readTurns(each, start + repeatMs)));
  const ms = performance.now() - start;
  const sum = (pick: (count: Count) => number) => counts.reduce((all, count) => all + pick(count), 0);
  return { kind: 'read', bytes: sum(({ bytes }) => bytes), turns: sum(({ turns }) => turns), ms };
}

type Count = { bytes: number; turns: number };

async function readTurns(wanted: Wanted, until: number): Promise<Count> {
  let bytes = 0;
  let turns = 0;
  do {
    bytes += await readTurn(wanted);
    turns++;
  } while (performance.now() < until);
  return { bytes, turns };
}

async function readTurn(wanted: Wanted): Promise<number> {
  const response = await send(wanted, agent);
  let bytes = 0;
  let tail: Buffer = Buffer.alloc(0);
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    tail = chunk.length >= TAIL_BYTES ? chunk : Buffer.concat([tail, chunk]).subarray(-TAIL_BYTES);
  }
  if (!tail.subarray(-TAIL_BYTES).includes(DONE)) throw new Error('the stream ended without a done event');
  return bytes;
}

/** One byte a second. Resolves when the reading has begun; it never ends by itself. */
async function trickle(wanted: Wanted): Promise<void> {
  const response = await send(wanted, agent);
  setInterval(() => response.read(1), 1000);
}
