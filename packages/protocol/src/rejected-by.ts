/** Rejects with the signal's reason when it aborts, to race a call with. The signal has not aborted yet. */
export function rejectedBy(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
