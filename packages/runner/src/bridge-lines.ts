/**
 * What a bridge writes, block by block: runs of messages, cut out by prefix and suffix (I3), and the few other lines.
 * The bridge is untrusted (I11): a message that could break SSE framing downstream, or is no single JSON object by its
 * looks, is refused here, before it is anywhere else.
 */
import { isUtf8 } from 'node:buffer';
import { MESSAGE_PREFIX, MESSAGE_SUFFIX } from '@atoll/protocol/message-line';

export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation';
}

export type Cut =
  /** `bytes`: the JSON of `count` messages, each ended by LF. */
  { kind: 'messages'; count: number; bytes: Uint8Array } | { kind: 'control'; text: string };

/** Only messages may be as long as a line can be; everything else is parsed, and short. */
const MAX_CONTROL_BYTES = 1024 * 1024;
const OPEN = '{'.charCodeAt(0);
const CLOSE = '}'.charCodeAt(0);

/** Cuts a block of whole lines. Throws ProtocolViolation. */
export function cutBlock(block: Uint8Array): Cut[] {
  const buffer = Buffer.from(block.buffer, block.byteOffset, block.byteLength);
  if (!isUtf8(block)) throw new ProtocolViolation('the bridge wrote invalid UTF-8');
  // Latin-1 keeps one character per byte, so that positions in the text are positions in the block; V8 scans it fast.
  const text = buffer.toString('latin1');
  if (text.includes('\r') || text.includes('\0'))
    throw new ProtocolViolation('the bridge wrote a raw CR or NUL');
  const cuts: Cut[] = [];
  let json = '';
  let count = 0;

  const endRun = () => {
    if (count === 0) return;
    cuts.push({ kind: 'messages', count, bytes: Buffer.from(json, 'latin1') });
    json = '';
    count = 0;
  };

  for (
    let start = 0, end = text.indexOf('\n');
    end !== -1;
    start = end + 1, end = text.indexOf('\n', start)
  ) {
    if (text.startsWith(MESSAGE_PREFIX, start)) {
      const from = start + MESSAGE_PREFIX.length;
      const to = end - MESSAGE_SUFFIX.length;
      const whole = to - from >= 2 && text.charCodeAt(from) === OPEN && text.charCodeAt(to - 1) === CLOSE;
      if (!whole || text.charCodeAt(to) !== CLOSE)
        throw new ProtocolViolation('the bridge wrote a message that is no JSON object');
      json += text.slice(from, to);
      json += '\n';
      count++;
    } else {
      endRun();
      if (end - start > MAX_CONTROL_BYTES)
        throw new ProtocolViolation('the bridge wrote a line of more than 1 MiB that is no message');
      cuts.push({ kind: 'control', text: buffer.toString('utf8', start, end) });
    }
  }
  endRun();
  return cuts;
}
