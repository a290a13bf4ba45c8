/**
 * The events of one command, held for a coordinator elsewhere until it says that it has them. Whoever was cut off reads
 * on after the last line that it got, and loses and doubles nothing. What is held is bounded: above that nothing is
 * taken from the sandbox, and its executor stops (I9).
 */
import { AtollError } from '@atoll/protocol/errors';
import type { CommandEvent } from '@atoll/protocol/runner-link';
import { linesOf, sizeOfEvent } from '../command-stream.ts';

/** More than a log writes in the time that an acknowledgement is under way. */
const MAX_HELD_BYTES = 4 * 1024 * 1024;

export type HeldCommand = {
  /** Nothing is held any more, and nothing will come: its end was acknowledged. */
  readonly settled: boolean;
  /**
   * What came after that line, then live, up to its `end`; ends early when the signal aborts. Any number may read at a
   * time. Throws `invalid_cursor` when some of it was acknowledged and is gone.
   */
  read(after: number, signal: AbortSignal): AsyncIterable<CommandEvent>;
  /** What came up to that line, or will come, need not be held. */
  acknowledge(line: number): void;
};

/** `events` is pulled, and has to end with an `end`; `onSettled` is called once. */
export function createHeldCommand(events: AsyncIterable<CommandEvent>, onSettled: () => void): HeldCommand {
  let held: CommandEvent[] = [];
  /** How many there were before the first that is held. */
  let gone = 0;
  let heldBytes = 0;
  let acknowledged = 0;
  /** Acknowledged up to here, whether it came or not. */
  let unwanted = 0;
  let ended = false;
  let settled = false;
  let changed = Promise.withResolvers<void>();
  let room = Promise.withResolvers<void>();

  async function take(): Promise<void> {
    for await (const event of events) {
      held.push(event);
      heldBytes += sizeOfEvent(event);
      ended ||= event.kind === 'end';
      wake();
      if (event.line <= unwanted) acknowledge(unwanted);
      while (heldBytes > MAX_HELD_BYTES) await room.promise;
    }
  }

  function wake(): void {
    changed.resolve();
    changed = Promise.withResolvers<void>();
  }

  async function* follow(after: number, signal: AbortSignal): AsyncGenerator<CommandEvent> {
    let next = gone + held.findIndex(({ line }) => line > after);
    if (next < gone) next = gone + held.length;
    signal.addEventListener('abort', wake, { once: true });
    try {
      while (!signal.aborted) {
        // What was acknowledged meanwhile, its reader has from elsewhere.
        next = Math.max(next, gone);
        const event = held[next - gone];
        if (!event) {
          if (ended) return;
          await changed.promise;
          continue;
        }
        next++;
        yield linesAfter(event, after);
        if (event.kind === 'end') return;
      }
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  function acknowledge(line: number): void {
    unwanted = Math.max(unwanted, line);
    const kept = held.findIndex((event) => event.line > line);
    const count = kept === -1 ? held.length : kept;
    const done = held.slice(0, count);
    const last = done.at(-1);
    if (!last) return;
    held = held.slice(count);
    gone += count;
    for (const event of done) heldBytes -= sizeOfEvent(event);
    acknowledged = last.line;
    if (heldBytes <= MAX_HELD_BYTES) {
      room.resolve();
      room = Promise.withResolvers<void>();
    }
    if (last.kind !== 'end') return;
    settled = true;
    wake();
    onSettled();
  }

  void take();
  return {
    get settled() {
      return settled;
    },
    read(after, signal) {
      if (after < acknowledged)
        throw new AtollError('invalid_cursor', `lines up to ${acknowledged} were acknowledged, and are gone`);
      return follow(after, signal);
    },
    acknowledge,
  };
}

/** Of messages that a reader has the first of, the others. */
function linesAfter(event: CommandEvent, after: number): CommandEvent {
  const first = event.line - linesOf(event) + 1;
  if (event.kind !== 'messages' || first > after) return event;
  const { bytes, spans } = event.messages;
  return { ...event, messages: { bytes, spans: spans.subarray(2 * (after + 1 - first)) } };
}
