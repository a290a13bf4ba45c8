/**
 * When there is time for work that nobody waits for: not while somebody needs the machine, nor for a moment after. A flow
 * that does not end holds it up so long and no longer; from then on it goes on beside the flow.
 */
export type Pace = {
  /** Somebody needs the machine, until the function that it returns is called. */
  begin(): () => void;
  /** How long to wait before it is looked at again; 0: there is time now. */
  waitMs(): number;
};

export function createPace({ quietMs, maxHoldMs }: { quietMs: number; maxHoldMs: number }): Pace {
  let running = 0;
  let flowSince = Number.NEGATIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  return {
    begin() {
      const now = performance.now();
      if (running === 0 && now - last >= quietMs) flowSince = now;
      running++;
      last = now;
      return () => {
        running--;
        last = performance.now();
      };
    },
    waitMs() {
      const now = performance.now();
      const held = now - flowSince;
      if (held >= maxHoldMs) return 0;
      return Math.min(running > 0 ? quietMs : Math.max(0, last + quietMs - now), maxHoldMs - held);
    },
  };
}
