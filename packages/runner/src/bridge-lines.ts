/**
 * What a bridge writes, block by block: runs of messages, cut out by prefix and suffix (I3), and the few other lines.
 * The bridge is untrusted (I11): a message that could break SSE framing downstream, or is no single JSON object by its
 * looks, is refused here, before it is anywhere else.
 */
import { isUtf8 } from 'node:buffer';
import { MESSAGE_PREFIX } from '@atoll/protocol/message-line';
import type { Messages } from '@atoll/protocol/runner-link';

export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation';
}

export type Cut = { kind: 'messages'; messages: Messages } | { kind: 'control'; text: string };

/** Only messages may be as long as a line can be; everything else is parsed, and short. */
const MAX_CONTROL_BYTES = 1024 * 1024;
const USUAL_LINE_BYTES = 256;
const OPEN = '{'.charCodeAt(0);
const CLOSE = '}'.charCodeAt(0);

const PREFIX = Buffer.from(MESSAGE_PREFIX);
/** The prefix is compared four bytes at a time; the last four overlap the ones before. */
const WORD_STARTS = Array.from({ length: Math.ceil(PREFIX.length / 4) }, (_, i) =>
  Math.min(i * 4, PREFIX.length - 4),
);
const WORDS = WORD_STARTS.map((at) => PREFIX.readUInt32BE(at));

/**
 * Cuts a block of whole lines; messages stay where they are in it. Throws ProtocolViolation.
 *
 * It is searched as a text of one character a byte. That is no slower than searching the bytes, and such a text is
 * garbage of the young heap: buffers are not, and without it V8 would notice them late and collect the old heap for them.
 */
export function cutBlock(block: Uint8Array): Cut[] {
  const bytes = Buffer.from(block.buffer, block.byteOffset, block.length);
  if (!isUtf8(bytes)) throw new ProtocolViolation('the bridge wrote invalid UTF-8');
  const text = bytes.toString('latin1');
  if (text.includes('\r') || text.includes('\0'))
    throw new ProtocolViolation('the bridge wrote a raw CR or NUL');
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  const cuts: Cut[] = [];
  const run = createSpans(Math.ceil(block.length / USUAL_LINE_BYTES));

  const endRun = () => {
    if (run.count > 0) cuts.push({ kind: 'messages', messages: { bytes, spans: run.take() } });
  };

  for (
    let start = 0, end = text.indexOf('\n');
    end !== -1;
    start = end + 1, end = text.indexOf('\n', start)
  ) {
    if (isMessage(view, start, end)) {
      const from = start + PREFIX.length;
      const to = end - 1;
      if (to - from < 2 || bytes[from] !== OPEN || bytes[to - 1] !== CLOSE || bytes[to] !== CLOSE)
        throw new ProtocolViolation('the bridge wrote a message that is no JSON object');
      run.add(from, to);
    } else {
      endRun();
      if (end - start > MAX_CONTROL_BYTES)
        throw new ProtocolViolation('the bridge wrote a line of more than 1 MiB that is no message');
      cuts.push({ kind: 'control', text: bytes.toString('utf8', start, end) });
    }
  }
  endRun();
  return cuts;
}

function isMessage(view: DataView, start: number, end: number): boolean {
  if (end - start < PREFIX.length) return false;
  for (let i = 0; i < WORDS.length; i++)
    if (view.getUint32(start + (WORD_STARTS[i] ?? 0)) !== WORDS[i]) return false;
  return true;
}

function createSpans(expected: number) {
  let spans = new Uint32Array(2 * expected);
  let length = 0;
  return {
    get count() {
      return length / 2;
    },
    add(from: number, to: number) {
      if (length === spans.length) {
        const longer = new Uint32Array(spans.length * 2);
        longer.set(spans);
        spans = longer;
      }
      spans[length++] = from;
      spans[length++] = to;
    },
    /** What was added since the last time. */
    take(): Uint32Array {
      const taken = spans.slice(0, length);
      length = 0;
      return taken;
    },
  };
}
