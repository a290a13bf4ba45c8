/** Events of a session as notifications: `session.event {sessionId, seq, event, data}`, data as the bytes in the log (I3). */
import { eventsOf, type FramedEvent } from '../log/frames.ts';
import { isJsonObject } from './json-object.ts';

const END = Buffer.from('}}\n');
/** More than the digits of any seq. */
const SEQ_BYTES = 16;

export type EventLines = (frames: Uint8Array) => Buffer;

/** For one session, since all its lines begin alike. */
export function createEventLines(sessionId: string): EventLines {
  const head = Buffer.from(
    `{"jsonrpc":"2.0","method":"session.event","params":{"sessionId":${JSON.stringify(sessionId)},"seq":`,
  );
  const names = new Map<string, Buffer>();

  function nameOf(event: string): Buffer {
    let known = names.get(event);
    if (!known) {
      known = Buffer.from(`,"event":${JSON.stringify(event)},"data":`);
      names.set(event, known);
    }
    return known;
  }

  return (frames) => {
    const events = [...eventsOf({ frames })].map((event) => ({
      ...event,
      name: nameOf(event.event),
      data: whole(event),
    }));
    const fixed = head.length + SEQ_BYTES + END.length;
    const size = events.reduce((sum, { name, data }) => sum + fixed + name.length + data.length, 0);
    const out = Buffer.allocUnsafe(size);
    let at = 0;
    for (const { seq, name, data } of events) {
      at += head.copy(out, at);
      at += out.write(String(seq), at, 'latin1');
      at += name.copy(out, at);
      out.set(data, at);
      at += data.length;
      at += END.copy(out, at);
    }
    return out.subarray(0, at);
  };
}

/** What is no JSON after all is shown as text. */
function whole({ data }: FramedEvent): Uint8Array {
  if (isJsonObject(data)) return data;
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString();
  return Buffer.from(JSON.stringify({ unparsable: text }));
}
