/**
 * Events of a session as notifications: `session.event {sessionId, seq, event, data}`, data as the bytes in the log (I3).
 * Messages come by the hundred thousand: the look at one that tells that it is JSON also finds where its frame ends.
 */
import { allocate, asBuffer, eventAt, messageDataAt, nextFrameAt, putNumber, seqAt } from '../log/frames.ts';
import { isJsonObject, jsonObjectEnd } from './json-object.ts';

const END = Buffer.from('}}\n');
/** More than the digits of any seq. */
const SEQ_BYTES = 16;
const MESSAGE = nameOf('message');

export type EventLines = (frames: Uint8Array) => Buffer;

/** For one session, since all its lines begin alike. */
export function createEventLines(sessionId: string): EventLines {
  const head = Buffer.from(
    `{"jsonrpc":"2.0","method":"session.event","params":{"sessionId":${JSON.stringify(sessionId)},"seq":`,
  );

  return (chunk) => {
    const frames = asBuffer(chunk);
    const out = createOut(2 * frames.length);
    for (let start = 0; start < frames.length; ) {
      const dataAt = messageDataAt(frames, start);
      const dataEnd = dataAt === undefined ? undefined : jsonObjectEnd(frames, dataAt);
      const next = dataEnd === undefined ? undefined : nextFrameAt(frames, dataEnd);
      if (dataAt !== undefined && dataEnd !== undefined && next !== undefined) {
        out.line(head, seqAt(frames, start), MESSAGE, frames, dataAt, dataEnd);
        start = next;
        continue;
      }
      const { seq, event, data, end } = eventAt(frames, start);
      const shown = whole(data);
      out.line(head, seq, nameOf(event), shown, 0, shown.length);
      start = end;
    }
    return out.bytes();
  };
}

/** A buffer that grows by lines. */
function createOut(expectedBytes: number) {
  let out = allocate(expectedBytes);
  let at = 0;

  function makeRoom(bytes: number): void {
    if (at + bytes <= out.length) return;
    const larger = allocate(2 * out.length + bytes);
    out.copy(larger, 0, 0, at);
    out = larger;
  }

  return {
    line(head: Buffer, seq: number, name: Buffer, data: Buffer, from: number, to: number): void {
      makeRoom(head.length + SEQ_BYTES + name.length + to - from + END.length);
      at += head.copy(out, at);
      at = putNumber(out, at, seq);
      at += name.copy(out, at);
      at += data.copy(out, at, from, to);
      at += END.copy(out, at);
    },
    bytes: () => out.subarray(0, at),
  };
}

function nameOf(event: string): Buffer {
  return Buffer.from(`,"event":${JSON.stringify(event)},"data":`);
}

/** What is no JSON after all is shown as text. */
function whole(data: Uint8Array): Buffer {
  const bytes = asBuffer(data);
  return isJsonObject(bytes) ? bytes : Buffer.from(JSON.stringify({ unparsable: bytes.toString() }));
}
