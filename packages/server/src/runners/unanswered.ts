/**
 * What a runner is told and gives no answer to: a stream that breaks may have lost the last of it, so it is told again
 * over the next one; twice is no harm. What was told so long ago that a runner which had not got it would be lost by
 * now, its lease having been told behind it, has come and is forgotten.
 */
import { LEASE_MS, MARGIN_MS } from './registrations.ts';

/** A lease begins and ends at the runner before a message that is stuck is known to be. */
export const COME_MS = 2 * (LEASE_MS + MARGIN_MS);

export type Unanswered<Message> = {
  /** Takes the place of what was told about that before. */
  add(about: string, message: Message): void;
  /** All that may not have come, the oldest first. */
  again(): Message[];
};

/** `clock` counts milliseconds and is never set back. */
export function createUnanswered<Message>(clock: () => number): Unanswered<Message> {
  const told = new Map<string, { message: Message; atMs: number }>();

  function put(about: string, message: Message): void {
    told.delete(about);
    told.set(about, { message, atMs: clock() });
  }

  return {
    add(about, message) {
      put(about, message);
      for (const [old, { atMs }] of told) {
        if (clock() - atMs <= COME_MS) return;
        told.delete(old);
      }
    },
    again() {
      const all = [...told];
      for (const [about, { message }] of all) put(about, message);
      return all.map(([, { message }]) => message);
    },
  };
}
