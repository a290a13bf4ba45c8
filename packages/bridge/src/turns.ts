/**
 * What holds for every executor: one turn at a time (I4), an interrupt that is answered at once and takes effect
 * within a deadline, and an end with a cause (I10).
 */
import { AtollError } from '@atoll/protocol/errors';
import type { Executor, Turn, TurnEnd } from './executor.ts';
import type { Timers } from './timers.ts';

/** An executor that goes on after this is killed; the next turn starts it again where it was. */
export const INTERRUPT_GRACE_MS = 5_000;

export type Turns = {
  query(turn: Turn): Promise<TurnEnd>;
  /** Nothing happens when that turn is not running: it may have ended while the request was on its way. */
  interrupt(turnId: string): void;
  resume: Executor['resume'];
  /** The running one. */
  readonly turnId: string | undefined;
};

type Running = { turnId: string; interrupted: boolean; cancelDeadline: () => void };

export function createTurns(executor: Executor, timers: Timers): Turns {
  let running: Running | undefined;
  let used = false;

  async function run(turn: Turn, current: Running): Promise<TurnEnd> {
    try {
      const end = await executor.query(turn);
      return current.interrupted ? asInterrupted(end) : end;
    } finally {
      current.cancelDeadline();
      running = undefined;
    }
  }

  return {
    async query(turn) {
      if (running) throw new AtollError('illegal_transition', `turn ${running.turnId} is still running`);
      used = true;
      running = { turnId: turn.turnId, interrupted: false, cancelDeadline: () => undefined };
      return run(turn, running);
    },
    interrupt(turnId) {
      if (running?.turnId !== turnId || running.interrupted) return;
      running.interrupted = true;
      running.cancelDeadline = timers.after(INTERRUPT_GRACE_MS, () => executor.kill());
      executor.interrupt();
    },
    resume(executorSessionId, how) {
      if (used) throw new AtollError('illegal_transition', 'resume comes before the first query');
      executor.resume(executorSessionId, how);
    },
    get turnId() {
      return running?.turnId;
    },
  };
}

/** However the turn ended: its user asked for the end, so that is the cause. */
function asInterrupted({ stopReason: _, ...end }: TurnEnd): TurnEnd {
  return {
    ...end,
    status: 'interrupted',
    cause: 'interrupted',
    detail: 'The turn was interrupted on request.',
  };
}
