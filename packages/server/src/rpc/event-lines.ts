/**
 * Events of a session as notifications: `session.event {sessionId, seq, event, data}`, data as the bytes in the log (I3).
 * Messages come by the hundred thousand: the look at one that tells that it is JSON also finds where its frame ends.
 */
import {
  allocate,
  asBuffer,
  eventAt,
  messageDataAt,
  nextFrameAt,
  put,
  putNumber,
  seqAt,
} from '../log/frames.ts';
import { isJsonObject, jsonObjectEnd } from './json-object.ts';

const END = Buffer.from('}}\n');
/** More than the digits of any seq. */
const SEQ_BYTES = 16;
const MESSAGE = nameOf('message');

/** Whole lines, and where the first frame begins that is not among them. */
export type Lines = { bytes: Buffer; next: number };

/**
 * The lines of the frames from `start` on, as many as there is room for; in memory of its own when not even one has.
 * `frames` are whole, and not at their end at `start`.
 */
export type EventLines = (frames: Uint8Array, start: number, room: Buffer) => Lines;

/** For one session, since all its lines begin alike. */
export function createEventLines(sessionId: string): EventLines {
  const head = Buffer.from(
    `{"jsonrpc":"2.0","method":"session.event","params":{"sessionId":${JSON.stringify(sessionId)},"seq":`,
  );

  return (chunk, start, room) => {
    const frames = asBuffer(chunk);
    const out = createOut(head, room);
    let next = start;
    while (next < frames.length) {
      const dataAt = messageDataAt(frames, next);
      const dataEnd = dataAt === undefined ? undefined : jsonObjectEnd(frames, dataAt);
      const end = dataEnd === undefined ? undefined : nextFrameAt(frames, dataEnd);
      if (dataAt !== undefined && dataEnd !== undefined && end !== undefined) {
        if (!out.line(seqAt(frames, next), MESSAGE, frames, dataAt, dataEnd)) break;
        next = end;
        continue;
      }
      const other = eventAt(frames, next);
      const shown = whole(other.data);
      if (!out.line(other.seq, nameOf(other.event), shown, 0, shown.length)) break;
      next = other.end;
    }
    return { bytes: out.bytes(), next };
  };
}

/** Lines one after another. */
function createOut(head: Buffer, room: Buffer) {
  let out = room;
  let at = 0;

  return {
    /** Returns whether there was room for it, as there always is for the first. */
    line(seq: number, name: Buffer, data: Buffer, from: number, to: number): boolean {
      const most = head.length + SEQ_BYTES + name.length + to - from + END.length;
      if (at + most > out.length) {
        if (at > 0) return false;
        out = allocate(most);
      }
      at += head.copy(out, at);
      at = putNumber(out, at, seq);
      at = put(out, at, name);
      at += data.copy(out, at, from, to);
      at = put(out, at, END);
      return true;
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
