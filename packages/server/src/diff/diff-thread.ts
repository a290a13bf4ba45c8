/**
 * The event loop's end of the thread that compares trees. It is started when somebody first wants a difference, and ends
 * when nobody did for a while; few are under way at a time, and the others wait.
 */
import { getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { AtollError } from '@atoll/protocol/errors';
import type { Page } from './page.ts';
import {
  type CompareRequest,
  type SideName,
  type ThreadReply,
  type ThreadRequest,
  toThreadError,
} from './thread-messages.ts';
import type { GetBlob } from './tree.ts';

export type Diffs = {
  /** Rejects as `get` does, and with `snapshot_failed` for what is no snapshot. */
  page(request: CompareRequest & { get: Record<SideName, GetBlob>; signal: AbortSignal }): Promise<Page>;
  close(): Promise<void>;
};

type Job = { get: Record<SideName, GetBlob>; resolve(page: Page): void; reject(error: AtollError): void };

const MAX_JOBS = 2;
const IDLE_MS = 30_000;
/** What the thread may hold: some trees' lists and files, and one search for the difference of two texts. */
const MAX_HEAP_MB = 256;

export function createDiffs(): Diffs {
  const jobs = new Map<number, Job>();
  const waiting: (() => void)[] = [];
  let lastJob = 0;
  let worker: Worker | undefined;
  let idle: NodeJS.Timeout | undefined;

  function start(): Worker {
    const started = new Worker(new URL('./diff-worker.ts', import.meta.url), {
      env: threadEnv(),
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
    });
    started.unref();
    started.on('message', (reply: ThreadReply) => {
      if (reply.kind === 'done') settle(reply);
      else void answer(started, reply);
    });
    const ended = (cause?: unknown) => {
      if (worker !== started) return;
      worker = undefined;
      const error = new AtollError('snapshot_failed', 'The thread that compares files has ended.', { cause });
      for (const { reject } of jobs.values()) reject(error);
      jobs.clear();
    };
    started.on('error', ended);
    started.on('exit', () => ended());
    return started;
  }

  function settle({ job, page, error }: ThreadReply & { kind: 'done' }): void {
    if (page) jobs.get(job)?.resolve(page);
    else jobs.get(job)?.reject(new AtollError(error?.code ?? 'internal', error?.detail));
    jobs.delete(job);
  }

  async function answer(to: Worker, { job, call, side, hash }: ThreadReply & { kind: 'get' }): Promise<void> {
    const blob = async (): Promise<Pick<ThreadRequest & { kind: 'blob' }, 'content' | 'error'>> => {
      try {
        const content = await jobs.get(job)?.get[side](hash);
        return content ? { content } : {};
      } catch (error) {
        return { error: toThreadError(error, 'storage_failed', 'The blob could not be read') };
      }
    };
    to.postMessage({ kind: 'blob', call, ...(await blob()) } satisfies ThreadRequest);
  }

  function compare({ get, signal: _, ...request }: Parameters<Diffs['page']>[0]): Promise<Page> {
    worker ??= start();
    const job = ++lastJob;
    const { promise, resolve, reject } = Promise.withResolvers<Page>();
    jobs.set(job, { get, resolve, reject });
    worker.postMessage({ kind: 'compare', job, ...request } satisfies ThreadRequest);
    return promise;
  }

  async function close(): Promise<void> {
    clearTimeout(idle);
    await worker?.terminate();
  }

  function closeWhenIdle(): void {
    clearTimeout(idle);
    if (jobs.size > 0) return;
    idle = setTimeout(() => {
      const ending = jobs.size === 0 ? worker : undefined;
      if (ending) worker = undefined;
      void ending?.terminate();
    }, IDLE_MS).unref();
  }

  return {
    async page(request) {
      while (jobs.size >= MAX_JOBS) await new Promise<void>((resolve) => waiting.push(resolve));
      try {
        request.signal.throwIfAborted();
        return await compare(request);
      } finally {
        waiting.shift()?.();
        closeWhenIdle();
      }
    },
    close,
  };
}

/** As the store's threads: one does not inherit an enabled compile cache, and loads twice as long without it. */
function threadEnv(): Record<string, string> {
  const directory = getCompileCacheDir();
  return directory === undefined ? {} : { NODE_COMPILE_CACHE: dirname(directory) };
}
