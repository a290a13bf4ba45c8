/**
 * A batch of events as the bytes of its RunnerMessage (runner.proto), written once: the encoder of the library would take
 * the lines joined, and copy them into memory of its own.
 */
import type { Messages } from '@atoll/protocol/runner-link';

const LF = 0x0a;
/** A field's number and wire type, as runner.proto has them. */
const DELIMITED = 2;
const EVENT_BATCH = (5 << 3) | DELIMITED;
const SANDBOX_ID = (1 << 3) | DELIMITED;
const EPOCH = 2 << 3;
const COMMAND_ID = (3 << 3) | DELIMITED;
const FIRST_LINE = 4 << 3;
const BYTES = (5 << 3) | DELIMITED;

export type EventBatch = {
  sandboxId: string;
  epoch: number;
  commandId: string;
  firstLine: number;
  messages: Messages;
};

/** Each message ends with LF. */
export function encodeEventBatch({ sandboxId, epoch, commandId, firstLine, messages }: EventBatch): Buffer {
  const { spans } = messages;
  let lineBytes = spans.length / 2;
  for (let i = 0; i < spans.length; i += 2) lineBytes += (spans[i + 1] ?? 0) - (spans[i] ?? 0);
  const before = Buffer.concat([
    ...text(SANDBOX_ID, sandboxId),
    varint(EPOCH),
    varint(epoch),
    ...text(COMMAND_ID, commandId),
    varint(FIRST_LINE),
    varint(firstLine),
    varint(BYTES),
    varint(lineBytes),
  ]);
  const head = Buffer.concat([varint(EVENT_BATCH), varint(before.length + lineBytes), before]);
  const all = Buffer.allocUnsafe(head.length + lineBytes);
  writeLines(messages, all, head.copy(all));
  return all;
}

function writeLines({ bytes, spans }: Messages, all: Buffer, from: number): void {
  // As plain arrays, whose copies are V8's own: half the time of a Buffer's.
  const source = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  const target = new Uint8Array(all.buffer, all.byteOffset, all.length);
  let at = from;
  for (let i = 0; i < spans.length; i += 2) {
    const line = source.subarray(spans[i], spans[i + 1]);
    target.set(line, at);
    at += line.length;
    target[at++] = LF;
  }
}

function text(field: number, value: string): Buffer[] {
  const bytes = Buffer.from(value);
  return [varint(field), varint(bytes.length), bytes];
}

/** Seven bits a byte, the lowest first; up to 2^53. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}
