/** What one `setTimeout` can wait; asked for more, it fires at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** Calls `run` once after `delayMs`, however long that is. Returns how to stop it. */
export function after(delayMs: number, run: () => void): () => void {
  let timer: NodeJS.Timeout;
  const wait = (leftMs: number) => {
    const stepMs = Math.min(leftMs, LONGEST_MS);
    timer = setTimeout(() => (leftMs > stepMs ? wait(leftMs - stepMs) : run()), stepMs);
  };
  wait(delayMs);
  return () => clearTimeout(timer);
}
