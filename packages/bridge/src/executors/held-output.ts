/**
 * Messages belong to turns: what an executor says between two of them (a late hook, say) waits for the next. Little is
 * passed on at once and waits at the runner, where it is at hand when the next turn begins; more would stop the runner's
 * reading, and with it all else that comes from here, so more waits here.
 */
import type { Output } from '../executor.ts';

const MAX_PASSED_ON_CHARS = 64 * 1024;
/** Then the executor waits (I9). */
const MAX_HELD_CHARS = 4 * 1024 * 1024;

export type HeldOutput = {
  /** Takes lines as `Output.messages` does. A promise when the caller must wait until they are released. */
  hold(lines: string): Promise<void> | undefined;
  /** Sends what is held. */
  release(): void;
};

export function createHeldOutput(output: Output, encoding: 'utf8' | 'latin1'): HeldOutput {
  let held = '';
  let passedOn = 0;
  let released = Promise.withResolvers<void>();
  return {
    hold(lines) {
      passedOn += lines.length;
      if (passedOn <= MAX_PASSED_ON_CHARS) return output.messages(lines, encoding);
      held += lines;
      return held.length > MAX_HELD_CHARS ? released.promise : undefined;
    },
    release() {
      if (held !== '') void output.messages(held, encoding);
      held = '';
      passedOn = 0;
      released.resolve();
      released = Promise.withResolvers<void>();
    },
  };
}
