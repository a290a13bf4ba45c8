/** The event loop's end of the thread that looks through trees: starts it when first needed, gives it its blobs. */
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { AtollError } from '@atoll/protocol/errors';
import type { SnapshotBlobs } from '@atoll/protocol/runner-link';
import { knownTreeFile } from './known-tree.ts';
import type {
  BlobAnswer,
  RebuildRequest,
  ScanAnswer,
  ScanRequest,
  ThreadError,
  ThreadReply,
  ThreadRequest,
} from './thread-messages.ts';

export type SnapshotThread = {
  /** Undefined, with `onlyIfSame`: something differs, or it would take too long to find out. */
  scan(request: ScanRequest & ForTenant): Promise<ScanAnswer | undefined>;
  rebuild(request: RebuildRequest & ForTenant): Promise<void>;
  /** What is known of a workspace is worth nothing any more. */
  forget(workspaceId: string): Promise<void>;
  close(): Promise<void>;
};

/** The reason of the signal is what the job then fails with. */
type ForTenant = { tenant: string; signal: AbortSignal };
type Job = {
  tenant: string;
  resolve(scanned: ScanAnswer | undefined): void;
  reject(error: AtollError): void;
};

/** Then what it knows is not kept: the next snapshots read everything. */
const MAX_CLOSING_MS = 5_000;

export function createSnapshotThread(options: {
  /** Where it keeps what it knows of workspaces. */
  directory: string;
  blobs: SnapshotBlobs;
}): SnapshotThread {
  const { directory, blobs } = options;
  const jobs = new Map<number, Job>();
  let lastJob = 0;
  let worker: Worker | undefined;
  let closed = false;

  function thread(): Worker {
    // Nobody would end it any more.
    if (closed) throw new AtollError('shutting_down');
    worker ??= start();
    return worker;
  }

  function start(): Worker {
    const started = new Worker(new URL('./snapshot-worker.ts', import.meta.url), {
      workerData: directory,
      env: threadEnv(),
    });
    started.unref();
    started.on('message', (reply: ThreadReply) => {
      if (reply.kind === 'done') settle(reply);
      else void answer(started, reply);
    });
    const ended = (cause?: unknown) => {
      if (worker === started) worker = undefined;
      const error = new AtollError('snapshot_failed', 'The thread that takes snapshots has ended.', {
        cause,
      });
      for (const { reject } of jobs.values()) reject(error);
      jobs.clear();
    };
    started.on('error', ended);
    started.on('exit', () => ended());
    return started;
  }

  function settle({ job, scanned, error }: ThreadReply & { kind: 'done' }): void {
    const waiting = jobs.get(job);
    jobs.delete(job);
    if (error) waiting?.reject(new AtollError(error.code, error.detail));
    else waiting?.resolve(scanned);
  }

  async function answer(to: Worker, asked: Exclude<ThreadReply, { kind: 'done' }>): Promise<void> {
    const blob = await blobFor(asked);
    to.postMessage(
      { kind: 'blob', call: asked.call, ...blob } satisfies ThreadRequest,
      'content' in blob ? handedOver(blob.content) : [],
    );
  }

  async function blobFor(asked: Exclude<ThreadReply, { kind: 'done' }>): Promise<BlobAnswer> {
    const tenant = jobs.get(asked.job)?.tenant;
    try {
      if (tenant === undefined) throw new AtollError('snapshot_failed', 'Nobody waits for it any more.');
      if (asked.kind === 'put') return { hash: await blobs.put({ tenant, content: asked.content }) };
      return { content: await blobs.get({ tenant, hash: asked.hash }) };
    } catch (error) {
      return { error: toThreadError(error) };
    }
  }

  async function run(
    request: ({ kind: 'scan' } & ScanRequest) | ({ kind: 'rebuild' } & RebuildRequest),
    { tenant, signal }: ForTenant,
  ): Promise<ScanAnswer | undefined> {
    signal.throwIfAborted();
    const asked = thread();
    const job = ++lastJob;
    const { promise, resolve, reject } = Promise.withResolvers<ScanAnswer | undefined>();
    jobs.set(job, { tenant, resolve, reject });
    const stop = () => asked.postMessage({ kind: 'stop', job, reason: toThreadError(signal.reason) });
    signal.addEventListener('abort', stop, { once: true });
    asked.postMessage({ ...request, job } satisfies ThreadRequest);
    return promise.finally(() => signal.removeEventListener('abort', stop));
  }

  return {
    scan: ({ tenant, signal, ...request }) => run({ kind: 'scan', ...request }, { tenant, signal }),
    async rebuild({ tenant, signal, ...request }) {
      await run({ kind: 'rebuild', ...request }, { tenant, signal });
    },
    async forget(workspaceId) {
      worker?.postMessage({ kind: 'forget', workspaceId } satisfies ThreadRequest);
      await rm(knownTreeFile(directory, workspaceId), { force: true });
    },
    async close() {
      closed = true;
      if (!worker) return;
      worker.ref();
      const exited = once(worker, 'exit');
      worker.postMessage({ kind: 'close' } satisfies ThreadRequest);
      await Promise.race([exited, delay(MAX_CLOSING_MS, undefined, { ref: false })]);
      await worker?.terminate();
    },
  };
}

/** Memory that holds nothing else goes to the thread as it is; the rest is copied. */
function handedOver({ buffer, byteLength }: Uint8Array): ArrayBuffer[] {
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? [buffer] : [];
}

function toThreadError(error: unknown): ThreadError {
  if (error instanceof AtollError) return { code: error.code, detail: error.detail };
  return { code: 'snapshot_failed', detail: error instanceof Error ? error.message : String(error) };
}

/** As the store's threads: one does not inherit an enabled compile cache, and loads twice as long without it. */
function threadEnv(): Record<string, string> {
  const directory = getCompileCacheDir();
  return directory === undefined ? {} : { NODE_COMPILE_CACHE: dirname(directory) };
}
