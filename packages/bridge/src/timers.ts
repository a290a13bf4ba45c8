/** Time as it is handed in, so that tests of deadlines need not wait for them. */
export type Timers = {
  /** Calls `run` once after `delayMs`, unless the returned function was called before. */
  after(delayMs: number, run: () => void): () => void;
};

/** Real time. A pending deadline keeps no process alive. */
export const realTimers: Timers = {
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** What `promise` gives, or undefined when it takes longer than `limitMs`. */
export async function within<T>(
  timers: Timers,
  limitMs: number,
  promise: Promise<T>,
): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const cancel = timers.after(limitMs, () => resolve(undefined));
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel();
  }
}
