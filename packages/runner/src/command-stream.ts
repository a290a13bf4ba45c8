/**
 * The events of one command on their way from the bridge's socket to whoever pulls them. Bounded: above the high water
 * mark the source is told to stop, and again when the reader has caught up (I9).
 */
import type { CommandEnd, CommandEvent, CommandOutput, Messages } from '@atoll/protocol/runner-link';

const HIGH_WATER_BYTES = 1024 * 1024;
/** What an event costs beside its content: empty ones must not be for nothing. */
export const EVENT_BYTES = 128;

export type CommandStream = AsyncIterable<CommandEvent> & {
  push(event: Exclude<CommandOutput, CommandEnd>): void;
  /** Ends it; later events and ends are ignored. */
  end(end: CommandEnd): void;
  readonly full: boolean;
  readonly waitingBytes: number;
};

/** The next lines of a sandbox: so many, of which the last is returned. */
export type TakeLines = (count: number) => number;

/** `onSpace` is called when a full stream has room again. */
export function createCommandStream(takeLines: TakeLines, onSpace: () => void): CommandStream {
  let arrived: CommandEvent[] = [];
  /** The earlier ones, the next at its end: taken without moving the others. */
  let next: CommandEvent[] = [];
  let waitingBytes = 0;
  let ended = false;
  let wake = Promise.withResolvers<void>();

  function add(output: CommandOutput): void {
    const event = { ...output, line: takeLines(linesOf(output)) };
    arrived.push(event);
    waitingBytes += sizeOfEvent(event);
    wake.resolve();
  }

  async function* read(): AsyncGenerator<CommandEvent> {
    for (;;) {
      if (next.length === 0) [next, arrived] = [arrived.reverse(), []];
      const event = next.pop();
      if (!event) {
        wake = Promise.withResolvers<void>();
        await wake.promise;
        continue;
      }
      const wasFull = waitingBytes > HIGH_WATER_BYTES;
      waitingBytes -= sizeOfEvent(event);
      if (wasFull && waitingBytes <= HIGH_WATER_BYTES) onSpace();
      yield event;
      if (event.kind === 'end') return;
    }
  }

  const reader = read();
  return {
    push(event) {
      if (!ended) add(event);
    },
    end(end) {
      if (ended) return;
      ended = true;
      add(end);
    },
    get full() {
      return !ended && waitingBytes > HIGH_WATER_BYTES;
    },
    get waitingBytes() {
      return waitingBytes;
    },
    [Symbol.asyncIterator]: () => reader,
  };
}

/** What messages hold in memory, in bytes. */
export function sizeOf({ bytes, spans }: Messages): number {
  return EVENT_BYTES + bytes.length + spans.byteLength;
}

/** How many lines an event takes up. */
export function linesOf(event: CommandOutput): number {
  return event.kind === 'messages' ? event.messages.spans.length / 2 : 1;
}

export function sizeOfEvent(event: CommandOutput): number {
  if (event.kind === 'messages') return sizeOf(event.messages);
  if (event.kind === 'approval') return EVENT_BYTES + JSON.stringify(event.request).length;
  return EVENT_BYTES + (event.kind === 'end' ? 0 : event.text.length);
}
