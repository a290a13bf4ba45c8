/** `atoll worker` over its pipes, and a host that looks only for what it waits for. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../packages/cli/src/main.mjs', import.meta.url));
/** More than a line that is waited for has. */
const TAIL_BYTES = 2048;

export type PipeHost = {
  /** Sends a request; resolves with the line that answers it. One at a time. */
  call(method: string, params: object): Promise<string>;
  write(line: string): void;
  /** Resolves once `mark` came, with how many bytes did since this call. */
  until(mark: string): Promise<{ bytes: number; tail: string }>;
  end(): Promise<void>;
};

export function spawnWorker(dataDir: string): PipeHost {
  return pipeHost([MAIN, 'worker', '--data-dir', dataDir]);
}

/** A Node program that answers lines with lines. */
export function pipeHost(words: readonly string[]): PipeHost {
  const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  return hostOf(child);
}

function hostOf(child: ChildProcessByStdio<Writable, Readable, null>): PipeHost {
  let nextId = 1;

  function until(mark: string): Promise<{ bytes: number; tail: string }> {
    let bytes = 0;
    let tail: Buffer = Buffer.alloc(0);
    return new Promise((resolve) => {
      const take = (chunk: Buffer) => {
        bytes += chunk.length;
        tail = chunk.length >= TAIL_BYTES ? chunk : Buffer.concat([tail, chunk]).subarray(-TAIL_BYTES);
        if (!tail.subarray(-TAIL_BYTES).includes(mark)) return;
        child.stdout.off('data', take);
        resolve({ bytes, tail: tail.toString() });
      };
      child.stdout.on('data', take);
    });
  }

  return {
    async call(method, params) {
      const id = nextId++;
      const answered = until(`"id":${id},`);
      child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
      return (await answered).tail;
    },
    write: (line) => void child.stdin.write(line),
    until,
    async end() {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}
