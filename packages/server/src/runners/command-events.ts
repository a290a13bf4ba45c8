/**
 * The events of a command out of the SSE bytes of a runner. Messages stay where they came in, and nothing parses them
 * (I3); a run of them becomes one event. A runner writes each frame as `id`, `event` and one `data` line, so that an
 * event is whole when its data is.
 */
import { AtollError } from '@atoll/protocol/errors';
import { createLineBlocks, LineTooLong, MAX_LINE_BYTES } from '@atoll/protocol/lines';
import { parse } from '@atoll/protocol/parse';
import type { CommandEvent, CommandOutput } from '@atoll/protocol/runner-link';
import { commandEvents } from '@atoll/protocol/schemas/runner-link';
import { faultIn } from './message-bytes.ts';

export type CommandEvents = {
  /**
   * Takes bytes in any cut and returns the events that they complete. Throws `executor_failed` for what is none, which no
   * other attempt would mend, and `runner_unreachable` when the runner itself breaks the stream off.
   */
  push(chunk: Uint8Array): CommandEvent[];
};

const DATA = 'data: ';

/** `after`: the last line that is known; only later ones may come. */
export function createCommandEvents(after: number): CommandEvents {
  const blocks = createLineBlocks(MAX_LINE_BYTES + DATA.length);
  let id = after;
  let name = '';

  function wholeLines(chunk: Uint8Array): Uint8Array[] {
    try {
      return blocks.push(chunk);
    } catch (error) {
      throw error instanceof LineTooLong ? broken(error.message) : error;
    }
  }

  function cut(block: Uint8Array, into: CommandEvent[]): void {
    const bytes = Buffer.from(block.buffer, block.byteOffset, block.length);
    const fault = faultIn(bytes);
    if (fault !== undefined) throw broken(`it sent ${fault}`);
    // One character a byte: searched as fast as bytes, and garbage of the young heap.
    const text = bytes.toString('latin1');
    let spans: number[] = [];
    let line = id;
    const endRun = () => {
      if (spans.length === 0) return;
      into.push({ kind: 'messages', messages: { bytes, spans: Uint32Array.from(spans) }, line });
      spans = [];
    };
    for (
      let start = 0, end = text.indexOf('\n');
      end !== -1;
      start = end + 1, end = text.indexOf('\n', start)
    ) {
      if (text.startsWith(DATA, start)) {
        const from = start + DATA.length;
        // A run is told by its last line alone, so it has no gap.
        if (name !== 'message' || id !== line + 1) endRun();
        line = id;
        if (name === 'message') spans.push(from, end);
        else into.push(control(name, bytes.toString('utf8', from, end), id));
      } else if (text.startsWith('id: ', start)) {
        const next = Number(text.slice(start + 4, end));
        if (!(next > id && Number.isSafeInteger(next))) throw broken(`line ${next} came after line ${id}`);
        id = next;
      } else if (text.startsWith('event: ', start)) {
        name = text.slice(start + 7, end);
      }
    }
    endRun();
  }

  return {
    push(chunk) {
      const events: CommandEvent[] = [];
      for (const block of wholeLines(chunk)) cut(block, events);
      return events;
    },
  };
}

function control(name: string, data: string, line: number): CommandEvent {
  return { ...outputOf(name, readJson(data)), line };
}

function outputOf(name: string, data: unknown): CommandOutput {
  switch (name) {
    case 'log':
      return { kind: 'log', ...parse(commandEvents.log, data) };
    case 'stdout':
    case 'stderr':
      return { kind: 'output', stream: name, ...parse(commandEvents[name], data) };
    case 'approval':
      return { kind: 'approval', ...parse(commandEvents.approval, data) };
    case 'end':
      return { kind: 'end', ...parse(commandEvents.end, data) };
    case 'error':
      throw new AtollError(
        'runner_unreachable',
        `the runner broke the stream off: ${JSON.stringify(data).slice(0, 500)}`,
      );
    default:
      throw broken(`it sent an event ${name.slice(0, 100)}`);
  }
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw broken('it sent an event that is not JSON');
  }
}

function broken(how: string): AtollError {
  return new AtollError('executor_failed', `the runner does not answer as one: ${how}`);
}
