/**
 * Server-sent events (WHATWG HTML, section 9.2): what Atoll writes, and a parser for what any server may write.
 * A frame is `id`, `event`, one `data` line. Frames are bytes that are made once and then shared: log, replay and
 * every subscriber use the same ones.
 */

/** First bytes of every stream: how long a client waits before it reconnects. */
export const SSE_RETRY = 'retry: 1000\n\n';
/** A comment; keeps proxies and clients from giving up on a silent stream. */
export const SSE_PING = ': ping\n\n';

/** One frame. `data` must hold no raw line break; JSON text never does. */
export function sseFrame(event: { id?: number | string; event: string; data: string }): string {
  const id = event.id === undefined ? '' : `id: ${event.id}\n`;
  return `${id}event: ${event.event}\ndata: ${event.data}\n\n`;
}

export type SseEvent = {
  /** The last id seen on the stream, this event's included; '' when none came yet. */
  lastEventId: string;
  /** Whether this very event carried an id. */
  hasId: boolean;
  event: string;
  data: string;
};

export type SseParser = {
  /** Takes bytes in any cut and returns the events that they complete. */
  push(chunk: Uint8Array): SseEvent[];
  /** The server's latest `retry`, in milliseconds. */
  readonly retryMs: number | undefined;
};

/** Follows the specification's parsing rules: LF, CR and CRLF line ends, multi-line data, comments, BOM. */
export function createSseParser(maxEventChars = 64 * 1024 * 1024): SseParser {
  const decoder = new TextDecoder('utf-8');
  let buffer = '';
  let scanned = 0;
  let afterCr = false;
  let retryMs: number | undefined;
  let lastEventId = '';
  let hasId = false;
  let event = '';
  let data: string[] = [];

  const dispatch = (into: SseEvent[]) => {
    if (data.length > 0) into.push({ lastEventId, hasId, event: event || 'message', data: data.join('\n') });
    event = '';
    data = [];
    hasId = false;
  };

  const field = (line: string) => {
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const name = colon === -1 ? line : line.slice(0, colon);
    const from = line[colon + 1] === ' ' ? colon + 2 : colon + 1;
    const value = colon === -1 ? '' : line.slice(from);
    if (name === 'data') data.push(value);
    else if (name === 'event') event = value;
    else if (name === 'id' && !value.includes('\0')) {
      lastEventId = value;
      hasId = true;
    } else if (name === 'retry' && /^\d+$/.test(value)) retryMs = Number(value);
  };

  return {
    push(chunk) {
      const events: SseEvent[] = [];
      buffer += decoder.decode(chunk, { stream: true });
      if (afterCr && buffer.length > 0) {
        if (buffer[0] === '\n') buffer = buffer.slice(1);
        afterCr = false;
      }
      let start = 0;
      const ends = /\r\n|\n|\r/g;
      ends.lastIndex = scanned;
      for (let end = ends.exec(buffer); end !== null; end = ends.exec(buffer)) {
        const line = buffer.slice(start, end.index);
        start = end.index + end[0].length;
        if (end[0] === '\r' && start === buffer.length) afterCr = true;
        if (line === '') dispatch(events);
        else field(line);
      }
      buffer = buffer.slice(start);
      scanned = buffer.length;
      if (buffer.length > maxEventChars) throw new Error('an SSE line is too long');
      return events;
    },
    get retryMs() {
      return retryMs;
    },
  };
}
