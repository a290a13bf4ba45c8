/** A page of a log that an agent can read: each event and all of them in bounds, and where to go on. */
import type { SessionEvent } from '@atoll/protocol/schemas/session';

const MAX_EVENT_CHARS = 2_000;
const MAX_PAGE_CHARS = 48 * 1024;

export function eventsShown(events: readonly SessionEvent[], after: number): Record<string, unknown> {
  const shown: Record<string, unknown>[] = [];
  let chars = 0;
  for (const event of events) {
    const one = shownEvent(event);
    chars += JSON.stringify(one).length;
    if (shown.length > 0 && chars > MAX_PAGE_CHARS) break;
    shown.push(one);
  }
  const last = events[shown.length - 1]?.seq ?? after;
  return { events: shown, nextAfter: last };
}

function shownEvent({ seq, time, event, data }: SessionEvent): Record<string, unknown> {
  const text = JSON.stringify(data) ?? 'null';
  if (text.length <= MAX_EVENT_CHARS) return { seq, time, event, data };
  return { seq, time, event, cut: `${text.slice(0, MAX_EVENT_CHARS).toWellFormed()}…`, chars: text.length };
}
