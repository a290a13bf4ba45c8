/**
 * The hot path of the bridge: a block of a program's output lines becomes a block of `message` lines, checked on
 * the way (protocols §1). Whole blocks and native searches, since a program writes some 100,000 lines a second;
 * `latin1` keeps bytes and chars the same, so nothing is decoded (I3).
 */
import { isUtf8 } from 'node:buffer';
import { linesOf, MAX_LINE_BYTES } from '@atoll/protocol/lines';
import { MESSAGE_PREFIX, MESSAGE_SUFFIX } from '@atoll/protocol/message-line';
import { isRecord } from '../params.ts';

/** The longest line that still fits a `message` line. */
export const MAX_MESSAGE_BYTES = MAX_LINE_BYTES - MESSAGE_PREFIX.length - MESSAGE_SUFFIX.length - 1;

const LF = 0x0a;
const CR = 0x0d;
const NUL = 0x00;
const OPEN = '{'.charCodeAt(0);
const CLOSE = '}'.charCodeAt(0);

const RESULT_PREFIX = Buffer.from('{"type":"result"');
/** Where result lines differ from most others: one look at this byte spares the comparison. */
const RESULT_BYTE_AT = RESULT_PREFIX.indexOf('result');
const RESULT_BYTE = 'r'.charCodeAt(0);

const BORDER = '}\n{';
const FRAMED_BORDER = `}${MESSAGE_SUFFIX}\n${MESSAGE_PREFIX}{`;

export type Cut = {
  /** `message` lines for all lines before the one that stopped the cut, as latin1; '' when there are none. */
  lines: string;
  /** The result line, when it stopped the cut; it is in `lines` too. */
  result?: Record<string, unknown>;
  /** What is wrong with the line that stopped the cut; nothing of it is in `lines`. */
  garbage?: string;
  /** What comes after a result line. */
  rest?: Buffer;
};

/** Cuts a block of whole lines (each ended by LF) up to its end, a result line, or a line that is no message. */
export function cutBlock(block: Buffer): Cut {
  const clean = problemOf(block) === undefined;
  let start = 0;
  while (start < block.length) {
    const end = block.indexOf(LF, start);
    const line = end - start;
    if (line < 2 || block[start] !== OPEN || block[end - 1] !== CLOSE)
      return { lines: frame(block, start), garbage: 'a line that is not {…}' };
    const problem = clean ? undefined : problemOf(block.subarray(start, end));
    if (problem !== undefined) return { lines: frame(block, start), garbage: problem };
    if (block[start + RESULT_BYTE_AT] === RESULT_BYTE && isResult(block, start)) {
      const result = parse(block.toString('utf8', start, end));
      if (!isRecord(result)) return { lines: frame(block, start), garbage: 'a result line that is not JSON' };
      return { lines: frame(block, end + 1), result, rest: block.subarray(end + 1) };
    }
    start = end + 1;
  }
  return { lines: frame(block, block.length) };
}

/** How many lines a block has, for those that are dropped. */
export function countLines(block: Uint8Array): number {
  return linesOf(block).reduce((count) => count + 1, 0);
}

function frame(block: Buffer, end: number): string {
  if (end === 0) return '';
  const lines = block.toString('latin1', 0, end - 1).replaceAll(BORDER, FRAMED_BORDER);
  return `${MESSAGE_PREFIX}${lines}${MESSAGE_SUFFIX}\n`;
}

/** CR would end an SSE line, NUL a C string, and bad UTF-8 the reader's decoder. */
export function problemOf(bytes: Uint8Array): string | undefined {
  if (bytes.indexOf(CR) !== -1) return 'a raw carriage return';
  if (bytes.indexOf(NUL) !== -1) return 'a NUL byte';
  return isUtf8(bytes) ? undefined : 'invalid UTF-8';
}

/** Once per turn; no other line is parsed (I3). */
function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    // The caller says what that means.
    return undefined;
  }
}

function isResult(block: Buffer, start: number): boolean {
  return block.compare(RESULT_PREFIX, 0, RESULT_PREFIX.length, start, start + RESULT_PREFIX.length) === 0;
}
