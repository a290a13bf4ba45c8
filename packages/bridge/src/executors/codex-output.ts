/** What Codex says, as lines of its turns. */
import { MESSAGE_PREFIX, MESSAGE_SUFFIX } from '@atoll/protocol/message-line';
import type { Output } from '../executor.ts';
import { isDelta } from './codex-lines.ts';
import { createHeldOutput } from './held-output.ts';

export type TurnOutput = {
  /** Frames a notification, given as latin1; '' for a delta that the turn did not ask for. */
  frame(method: string, json: string): string;
  /** Takes framed lines as latin1. A promise when the caller must wait before it gives more. */
  write(lines: string): Promise<void> | undefined;
  begin(options: { deltas: boolean }): void;
  end(): void;
};

export function createTurnOutput(output: Output): TurnOutput {
  const held = createHeldOutput(output, 'latin1');
  let deltas = false;
  let running = false;
  return {
    frame: (method, json) =>
      isDelta(method) && !deltas ? '' : `${MESSAGE_PREFIX}${json}${MESSAGE_SUFFIX}\n`,
    write(lines) {
      return running ? output.messages(lines, 'latin1') : held.hold(lines);
    },
    begin(options) {
      running = true;
      deltas = options.deltas;
      held.release();
    },
    end() {
      running = false;
      deltas = false;
    },
  };
}
