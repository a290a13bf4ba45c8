/**
 * The thread that compares trees: what it is given may be as hostile as an agent likes, so that it takes time, and here
 * nobody waits for it. Blobs come from the event loop.
 */
import { parentPort } from 'node:worker_threads';
import { AtollError } from '@atoll/protocol/errors';
import { agentTree } from './agent-tree.ts';
import { diffPage, type Page, type Side } from './page.ts';
import {
  type CompareRequest,
  type SideName,
  type ThreadReply,
  type ThreadRequest,
  type TreeRef,
  toThreadError,
} from './thread-messages.ts';
import { type GetBlob, snapshotTree } from './tree.ts';

/** Of a job: a pack holds many small files, and a run those of both names of a file. */
const KEPT_BLOBS = 16;

type Blob = ThreadRequest & { kind: 'blob' };

const calls = new Map<number, (blob: Blob) => void>();
let lastCall = 0;

parentPort?.on('message', (request: ThreadRequest) => {
  if (request.kind === 'blob') calls.get(request.call)?.(request);
  else void compare(request.job, request);
});

async function compare(job: number, request: CompareRequest): Promise<void> {
  try {
    reply({ kind: 'done', job, page: await pageOf(job, request) });
  } catch (error) {
    reply({
      kind: 'done',
      job,
      error: toThreadError(error, 'snapshot_failed', 'The files could not be compared'),
    });
  }
}

async function pageOf(job: number, { from, to, limit, places }: CompareRequest): Promise<Page> {
  const kept = new Map<string, Uint8Array>();
  const side = async (name: SideName, { kind, hash }: TreeRef): Promise<Side> => {
    const get = keeping(kept, (blob) => fetch(job, name, blob));
    return { get, tree: await (kind === 'agent' ? agentTree : snapshotTree)(hash, get) };
  };
  return diffPage({ from: await side('from', from), to: await side('to', to), limit, places });
}

/** The latest ones are not fetched again, whichever side they are of: a hash has one content. */
function keeping(kept: Map<string, Uint8Array>, get: GetBlob): GetBlob {
  return async (hash) => {
    const content = kept.get(hash) ?? (await get(hash));
    kept.delete(hash);
    kept.set(hash, content);
    const [oldest] = kept.keys();
    if (kept.size > KEPT_BLOBS && oldest !== undefined) kept.delete(oldest);
    return content;
  };
}

async function fetch(job: number, side: SideName, hash: string): Promise<Uint8Array> {
  const call = ++lastCall;
  const { promise, resolve } = Promise.withResolvers<Blob>();
  calls.set(call, resolve);
  reply({ kind: 'get', job, call, side, hash });
  const { content, error } = await promise.finally(() => calls.delete(call));
  if (content) return content;
  throw new AtollError(error?.code ?? 'internal', error?.detail);
}

function reply(message: ThreadReply): void {
  parentPort?.postMessage(message);
}
