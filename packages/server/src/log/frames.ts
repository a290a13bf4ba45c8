/**
 * Frames: events as the SSE bytes that log, replay and every subscriber share (I3). A frame is
 *
 *   id: <seq>\nevent: <name>\ndata: <one line>\n\n
 *
 * Data never holds LF, so an empty line ends a frame and nothing else does: frames are cut without parsing a message.
 */

import { AtollError } from '@atoll/protocol/errors';
import type { Messages } from '@atoll/protocol/runner-link';

const LF = 0x0a;
const DIGIT_ZERO = 0x30;
const ID = Buffer.from('id: ');
const AFTER_MESSAGE_ID = Buffer.from('\nevent: message\ndata: ');
const EVENT = Buffer.from('\nevent: ');
const DATA = Buffer.from('\ndata: ');
const FRAME_END = Buffer.from('\n\n');
/** Up to here Node takes buffers from its pool. */
const SMALL_BYTES = 4096;

export type Frames = { frames: Uint8Array };
export type FramedEvent = { seq: number; event: string; data: Uint8Array };

/**
 * The frames of messages, numbered from `firstSeq`.
 *
 * The hottest function of the product, so it is written for speed: 7 M events/s of 250 bytes here, one copy of each.
 */
export function frameMessages(firstSeq: number, { bytes, spans }: Messages): Uint8Array {
  const source = asBuffer(bytes);
  const count = spans.length / 2;
  const perFrame = ID.length + digitsOf(firstSeq + count) + AFTER_MESSAGE_ID.length + FRAME_END.length;
  const out = allocate(bytesIn(spans) + count * perFrame);
  let at = 0;
  for (let i = 0; i < count; i++) {
    const start = spans[2 * i] ?? 0;
    const end = spans[2 * i + 1] ?? start;
    at = put(out, at, ID);
    at = putNumber(out, at, firstSeq + i);
    at = put(out, at, AFTER_MESSAGE_ID);
    source.copy(out, at, start, end);
    at = put(out, at + end - start, FRAME_END);
  }
  return out.subarray(0, at);
}

/**
 * Long frames are shared memory, though nobody shares it: V8 counts other buffers as growth of the old heap, and in a
 * flood, where little else is allocated, collects the old heap for them several times a second.
 */
export function allocate(bytes: number): Buffer {
  return bytes < SMALL_BYTES ? Buffer.allocUnsafe(bytes) : Buffer.from(new SharedArrayBuffer(bytes));
}

function bytesIn(spans: Uint32Array): number {
  let bytes = 0;
  for (let i = 0; i < spans.length; i += 2) bytes += (spans[i + 1] ?? 0) - (spans[i] ?? 0);
  return bytes;
}

/** One frame. `data` is JSON text: it and the name hold no line break. */
export function frameEvent({ seq, event, data }: { seq: number; event: string; data: string }): Uint8Array {
  if (/[\r\n]/.test(event) || /[\r\n]/.test(data))
    throw new AtollError('internal', `The event ${JSON.stringify(event)} holds a line break.`);
  return Buffer.from(`id: ${seq}\nevent: ${event}\ndata: ${data}\n\n`);
}

/** The frames of every event later than `seq`; a view of the chunk's bytes. */
export function framesAfter(chunk: Frames, seq: number): Uint8Array {
  return chunk.frames.subarray(endOf(asBuffer(chunk.frames), seq));
}

/** The frames of every event up to and with `seq`; a view of the chunk's bytes. */
export function framesUpTo(chunk: Frames, seq: number): Uint8Array {
  return chunk.frames.subarray(0, endOf(asBuffer(chunk.frames), seq));
}

/** Where the data of the frame at `start` begins, if the frame is a message; else undefined. */
export function messageDataAt(frames: Buffer, start: number): number | undefined {
  const at = seqEnd(frames, start);
  for (let i = 0; i < AFTER_MESSAGE_ID.length; i++)
    if (frames[at + i] !== AFTER_MESSAGE_ID[i]) return undefined;
  return at + AFTER_MESSAGE_ID.length;
}

/** Where the digits of the seq begin in the frame at `start`. */
export function seqStart(start: number): number {
  return start + ID.length;
}

/** Where they end. */
export function seqEnd(frames: Buffer, start: number): number {
  let at = seqStart(start);
  while (at < frames.length && frames[at] !== LF) at++;
  return at;
}

/** Where the next frame begins, if the data of one ends at `end`; else undefined. */
export function nextFrameAt(frames: Buffer, end: number): number | undefined {
  return frames[end] === LF && frames[end + 1] === LF ? end + FRAME_END.length : undefined;
}

/** The events of a chunk, their data as views of its bytes. */
export function* eventsOf(chunk: Frames): Generator<FramedEvent> {
  const frames = asBuffer(chunk.frames);
  for (let start = 0; start < frames.length; ) {
    const { end, ...event } = eventAt(frames, start);
    yield event;
    start = end;
  }
}

/** Those of its events that have one of these names, in order. The others are not cut, so many of them cost little. */
export function* eventsNamed(chunk: Frames, names: readonly string[]): Generator<FramedEvent> {
  const frames = asBuffer(chunk.frames);
  const places = names.flatMap((event) => [...placesOf(frames, event)].map((at) => ({ event, at })));
  for (const { event, at } of places.sort((a, b) => a.at - b.at)) {
    const data = at + EVENT.length + Buffer.byteLength(event) + DATA.length;
    const end = frameEnd(frames, data) - FRAME_END.length;
    yield { seq: seqAt(frames, frames.lastIndexOf(ID, at)), event, data: frames.subarray(data, end) };
  }
}

/** Data holds no line break, so this stands nowhere else. */
function* placesOf(frames: Buffer, event: string): Generator<number> {
  const mark = Buffer.from(`\nevent: ${event}\ndata: `);
  for (let at = frames.indexOf(mark); at !== -1; at = frames.indexOf(mark, at + mark.length)) yield at;
}

/** The event of the frame that begins at `start`, and where that frame ends. */
export function eventAt(frames: Buffer, start: number): FramedEvent & { end: number } {
  const end = frameEnd(frames, start);
  const event = frames.indexOf(EVENT, start);
  const data = frames.indexOf(DATA, event);
  return {
    seq: seqAt(frames, start),
    event: frames.toString('utf8', event + EVENT.length, data),
    data: frames.subarray(data + DATA.length, end - FRAME_END.length),
    end,
  };
}

/** Where the frames up to `seq` end. By the ids and not by counting, since compaction leaves gaps (I2). */
function endOf(frames: Buffer, seq: number): number {
  let start = 0;
  while (start < frames.length && seqAt(frames, start) <= seq) start = frameEnd(frames, start);
  return start;
}

function frameEnd(frames: Buffer, start: number): number {
  const end = frames.indexOf(FRAME_END, start);
  if (end === -1) throw new AtollError('storage_failed', 'A chunk of the log ends in the middle of a frame.');
  return end + FRAME_END.length;
}

function seqAt(frames: Buffer, start: number): number {
  let seq = 0;
  for (let at = start + ID.length; at < frames.length && frames[at] !== LF; at++) {
    const digit = (frames[at] ?? 0) - DIGIT_ZERO;
    if (digit < 0 || digit > 9) throw new AtollError('storage_failed', 'A frame of the log has no id.');
    seq = seq * 10 + digit;
  }
  return seq;
}

/** A loop: for a few bytes the engine's own copy costs more than the bytes. */
export function put(out: Buffer, at: number, bytes: Buffer): number {
  for (let i = 0; i < bytes.length; i++) out[at + i] = bytes[i] ?? 0;
  return at + bytes.length;
}

function putNumber(out: Buffer, at: number, value: number): number {
  const end = at + digitsOf(value);
  let rest = value;
  for (let i = end - 1; i >= at; i--) {
    const tens = Math.floor(rest / 10);
    out[i] = DIGIT_ZERO + rest - tens * 10;
    rest = tens;
  }
  return end;
}

function digitsOf(value: number): number {
  let digits = 1;
  for (let power = 10; value >= power; power *= 10) digits++;
  return digits;
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
