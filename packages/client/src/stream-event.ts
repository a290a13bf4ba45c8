import { type EventData, eventSchemas } from '@atoll/protocol/events';
import type { SseEvent } from '@atoll/protocol/sse';
import * as v from 'valibot';
import { parseJson } from './errors.ts';

/** One event of a session. */
export type StreamEvent = {
  /** Its place in the session's log; absent on `ready`, which is of the connection and not of the log. */
  seq: number | undefined;
  /** `message` is the executor's own; every other name is Atoll's. Newer servers may send names unknown here. */
  event: string;
  /** The data as it was received, byte for byte (I3). */
  text: string;
};

/** A piece of a command's output, or its end. */
export type ExecEvent =
  | ({ kind: 'stdout' } & EventData<'stdout'>)
  | ({ kind: 'stderr' } & EventData<'stderr'>)
  | ({ kind: 'exit' } & EventData<'exit'>);

export function toStreamEvent(event: SseEvent): StreamEvent {
  const seq = event.hasId && /^\d{1,15}$/.test(event.lastEventId) ? Number(event.lastEventId) : undefined;
  return { seq, event: event.event, text: event.data };
}

/** The data of an event if it has that name (and the shape that goes with it), else undefined. */
export function eventData<N extends keyof typeof eventSchemas>(
  event: StreamEvent,
  name: N,
): EventData<N> | undefined;
export function eventData(event: StreamEvent, name: keyof typeof eventSchemas): unknown {
  if (event.event !== name) return undefined;
  const parsed = v.safeParse(eventSchemas[name], parseJson(event.text));
  return parsed.success ? parsed.output : undefined;
}

export function toExecEvent(event: StreamEvent): ExecEvent | undefined {
  const stdout = eventData(event, 'stdout');
  if (stdout !== undefined) return { kind: 'stdout', ...stdout };
  const stderr = eventData(event, 'stderr');
  if (stderr !== undefined) return { kind: 'stderr', ...stderr };
  const exit = eventData(event, 'exit');
  return exit === undefined ? undefined : { kind: 'exit', ...exit };
}
