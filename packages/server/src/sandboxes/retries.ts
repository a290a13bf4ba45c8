/** How long a job is tried again: what the next moment may mend is, and what a runner said is not. */
import type { ErrorCode } from '@atoll/protocol/errors';

type Retries = { firstMs: number; maxMs: number; forMs: number };

/** A runner that restarts is back by then; who asks for what nobody has, hears so within five seconds on a busy machine. */
const noRunner: Retries = { firstMs: 250, maxMs: 1_000, forMs: 3_000 };
const noPlace: Retries = { firstMs: 250, maxMs: 5_000, forMs: 60_000 };
/** The runner is the one, and did not answer; whether it is lost, its lease says. */
const noAnswer: Retries = { firstMs: 250, maxMs: 5_000, forMs: 60_000 };

const passing: Partial<Record<ErrorCode, Retries>> = {
  no_runner: noRunner,
  runner_lost: noRunner,
  no_capacity: noPlace,
  runner_unreachable: noAnswer,
  timed_out: noAnswer,
  shutting_down: noAnswer,
  storage_failed: noAnswer,
};

/** In how many milliseconds, after that many attempts and that long a time; undefined: not again. */
export function retryIn(code: ErrorCode, attempts: number, elapsedMs: number): number | undefined {
  const retries = passing[code];
  if (!retries || elapsedMs >= retries.forMs) return undefined;
  // The last attempt is at the end.
  return Math.min(retries.firstMs * 2 ** (attempts - 1), retries.maxMs, retries.forMs - elapsedMs);
}
