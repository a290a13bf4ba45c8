import { eventData, type StreamEvent } from './stream-event.ts';

export type TurnFilter = {
  /** Takes note of an event of the turn's own stream, which holds nothing else. */
  note(event: StreamEvent): void;
  /** Whether an event of the session's whole log is of this turn. Must see every event, in order. */
  takes(event: StreamEvent): boolean;
  isEnd(event: StreamEvent): boolean;
};

/**
 * Tells one turn's events from the rest of a session's log. A session runs one turn at a time (I4), so an event
 * without a turn's id is of the turn that started last.
 */
export function createTurnFilter(): TurnFilter {
  let turnId: string | undefined;
  let started = false;

  return {
    note(event) {
      turnId ??= eventData(event, 'ready')?.turnId ?? eventData(event, 'input')?.turnId;
      if (event.event !== 'ready' && event.event !== 'input') started = true;
    },
    takes(event) {
      const named = turnOf(event);
      if (named !== undefined && named === turnId && event.event !== 'input') started = true;
      return named === undefined ? started : named === turnId;
    },
    isEnd: (event) => event.event === 'done' && eventData(event, 'done')?.turnId === turnId,
  };
}

function turnOf(event: StreamEvent): string | undefined {
  const data = eventData(event, 'input') ?? eventData(event, 'status') ?? eventData(event, 'done');
  return data?.turnId;
}
