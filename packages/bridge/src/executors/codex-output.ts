/** Messages belong to turns: what Codex says between two of them waits, bounded, for the next (I9). */
import { MESSAGE_PREFIX, MESSAGE_SUFFIX } from '@atoll/protocol/message-line';
import type { Output } from '../executor.ts';
import { isDelta } from './codex-lines.ts';

const MAX_HELD_CHARS = 4 * 1024 * 1024;

export type TurnOutput = {
  /** Frames a notification, given as latin1; '' for a delta that the turn did not ask for. */
  frame(method: string, json: string): string;
  /** Takes framed lines as latin1. A promise when the caller must wait before it gives more. */
  write(lines: string): Promise<void> | undefined;
  begin(options: { deltas: boolean }): void;
  end(): void;
};

export function createTurnOutput(output: Output): TurnOutput {
  let held = '';
  let deltas = false;
  let running = false;
  let begun = Promise.withResolvers<void>();
  return {
    frame: (method, json) =>
      isDelta(method) && !deltas ? '' : `${MESSAGE_PREFIX}${json}${MESSAGE_SUFFIX}\n`,
    write(lines) {
      if (running) return output.messages(lines, 'latin1');
      held += lines;
      return held.length > MAX_HELD_CHARS ? begun.promise : undefined;
    },
    begin(options) {
      running = true;
      deltas = options.deltas;
      if (held !== '') void output.messages(held, 'latin1');
      held = '';
      begun.resolve();
      begun = Promise.withResolvers<void>();
    },
    end() {
      running = false;
      deltas = false;
    },
  };
}
