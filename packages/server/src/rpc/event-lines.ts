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
  seqEnd,
  seqStart,
} from '../log/frames.ts';
import { isJsonObject, jsonObjectEnd } from './json-object.ts';

const END = Buffer.from('}}\n');

/** Whole lines, and where the first frame begins that is not among them. */
export type Lines = { bytes: Buffer; next: number };

/**
 * The lines of the frames from `start` on, as many as there is room for; in memory of its own when not even one has.
 * `frames` are whole, and not at their end at `start`.
 */
export type EventLines = (frames: Uint8Array, start: number, room: Buffer) => Lines;

/** For one session, since all its lines begin alike. */
export function createEventLines(sessionId: string): EventLines {
  const session = `{"jsonrpc":"2.0","method":"session.event","params":{"sessionId":${JSON.stringify(sessionId)},"seq":`;
  const headOf = createHeads(Buffer.from(session));

  return (chunk, start, room) => {
    const frames = asBuffer(chunk);
    const out = createOut(room);
    let next = start;
    while (next < frames.length) {
      const dataAt = messageDataAt(frames, next);
      const dataEnd = dataAt === undefined ? undefined : jsonObjectEnd(frames, dataAt);
      const end = dataEnd === undefined ? undefined : nextFrameAt(frames, dataEnd);
      if (dataAt !== undefined && dataEnd !== undefined && end !== undefined) {
        if (!out.line(headOf(frames, next, 'message'), frames, dataAt, dataEnd)) break;
        next = end;
        continue;
      }
      const other = eventAt(frames, next);
      const shown = whole(other.data);
      if (!out.line(headOf(frames, next, other.event), shown, 0, shown.length)) break;
      next = other.end;
    }
    return { bytes: out.bytes(), next };
  };
}

/**
 * What a line has before its data. The last one is kept, and the next one's digits are written there: a flood's lines differ in
 * nothing else.
 */
function createHeads(session: Buffer) {
  let head = session;
  let named = '';
  let digits = 0;

  return (frames: Buffer, start: number, event: string): Buffer => {
    const from = seqStart(start);
    const to = seqEnd(frames, start);
    if (named === event && digits === to - from) {
      for (let at = from, own = session.length; at < to; at++, own++) head[own] = frames[at] ?? 0;
      return head;
    }
    named = event;
    digits = to - from;
    const name = Buffer.from(`,"event":${JSON.stringify(event)},"data":`);
    head = Buffer.concat([session, frames.subarray(from, to), name]);
    return head;
  };
}

/** Lines one after another. */
function createOut(room: Buffer) {
  let out = room;
  let at = 0;

  return {
    /** Returns whether there was room for it, as there always is for the first. */
    line(head: Buffer, data: Buffer, from: number, to: number): boolean {
      const bytes = head.length + to - from + END.length;
      if (at + bytes > out.length) {
        if (at > 0) return false;
        out = allocate(bytes);
      }
      at += head.copy(out, at);
      at += data.copy(out, at, from, to);
      at = put(out, at, END);
      return true;
    },
    bytes: () => out.subarray(0, at),
  };
}

/** What is no JSON after all is shown as text. */
function whole(data: Uint8Array): Buffer {
  const bytes = asBuffer(data);
  return isJsonObject(bytes) ? bytes : Buffer.from(JSON.stringify({ unparsable: bytes.toString() }));
}
