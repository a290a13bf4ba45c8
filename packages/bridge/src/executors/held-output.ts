/** Messages belong to turns: what an executor says between two of them (a late hook, say) waits for the next. */
import type { Output } from '../executor.ts';

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
  let released = Promise.withResolvers<void>();
  return {
    hold(lines) {
      held += lines;
      return held.length > MAX_HELD_CHARS ? released.promise : undefined;
    },
    release() {
      if (held !== '') void output.messages(held, encoding);
      held = '';
      released.resolve();
      released = Promise.withResolvers<void>();
    },
  };
}
