/** Time and chance, injected so that tests neither sleep nor vary. */
export type Timers = {
  /** Runs `task` once after `ms`; the returned function takes that back. */
  after(ms: number, task: () => void): () => void;
  /** From 0 (included) to 1 (excluded). */
  random(): number;
};

export const systemTimers: Timers = {
  after: (ms, task) => {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/** Waits, or returns early when `signal` aborts. */
export function pause(ms: number, timers: Timers, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const finish = () => {
      cancel();
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const cancel = timers.after(ms, finish);
    signal?.addEventListener('abort', finish);
  });
}

const LONGEST_PAUSE_MS = 30_000;

/**
 * How long to wait before attempt number `failures` + 1: the server's `retry` doubled with each failure, at most 30 s,
 * and of that a random half, so that a thousand clients of a restarted server do not come back together.
 */
export function backoffMs(failures: number, retryMs: number, random: number): number {
  const full = Math.min(LONGEST_PAUSE_MS, retryMs * 2 ** Math.min(failures - 1, 30));
  return full / 2 + (full / 2) * random;
}
