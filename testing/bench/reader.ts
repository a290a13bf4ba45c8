/**
 * An SSE client in a process of its own, so that its work is never the server's, nor that of whoever measures: plain
 * http, no parsing.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Wanted } from './target.ts';

export type Reader = {
  /** Reads these turns at once, each to its `done`; with `repeatMs` again and again, until that has passed. */
  read(wanted: readonly Wanted[], options?: { repeatMs?: number }): Promise<ReadCount>;
  /** Reads one byte a second from now on, until the reader is disposed. */
  trickle(wanted: Wanted): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type ReadCount = { bytes: number; turns: number; ms: number };

export type ReaderRequest = { kind: 'read' | 'trickle'; wanted: readonly Wanted[]; repeatMs: number };
export type ReaderReply = ({ kind: 'read' } & ReadCount) | { kind: 'failed'; detail: string };

const MAIN = fileURLToPath(new URL('reader-process.ts', import.meta.url));

/** Answers one call at a time. */
export function startReader(): Reader {
  const child = fork(MAIN);

  async function ask(request: ReaderRequest): Promise<ReadCount> {
    child.send(request);
    const [reply] = (await once(child, 'message')) as [ReaderReply];
    if (reply.kind === 'failed') throw new Error(reply.detail);
    return reply;
  }

  return {
    read: (wanted, { repeatMs = 0 } = {}) => ask({ kind: 'read', wanted, repeatMs }),
    trickle: async (wanted) => void (await ask({ kind: 'trickle', wanted: [wanted], repeatMs: 0 })),
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await once(child, 'exit');
    },
  };
}
