/**
 * How many tokens a model call took, from what its answer says as it passes: read beside the stream, never instead of
 * it. What an answer does not say is counted by size, so that a caller who leaves before the end saves nothing.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { count } from '@atoll/protocol/schemas/common';
import * as v from 'valibot';

export type UsageReader = {
  sent(bytes: number): void;
  answered(status: number, headers: IncomingHttpHeaders): void;
  received(chunk: Buffer): void;
  /** Read and written ones together, cached ones too; 0 for a call that was refused. */
  tokens(): number;
};

/** Of one event, or of an answer that is no stream; what is larger is not read. */
const MAX_READ_BYTES = 4 * 1024 * 1024;
const BYTES_PER_TOKEN = 4;
const NEWLINE = 10;
const DATA = Buffer.from('data:');

const some = v.nullish(count);
const usage = v.object({
  input_tokens: some,
  cache_creation_input_tokens: some,
  cache_read_input_tokens: some,
  output_tokens: some,
  prompt_tokens: some,
  completion_tokens: some,
});
type Usage = v.InferOutput<typeof usage>;

const inside = v.nullish(v.object({ usage: v.nullish(usage) }));
/** An event or a whole answer, of any of the APIs. */
const said = v.object({ usage: v.nullish(usage), response: inside, message: inside });

export function createUsageReader(): UsageReader {
  let sentBytes = 0;
  let receivedBytes = 0;
  let events = 0;
  let failed = true;
  let streamed = false;
  let total: Usage = {};
  let complete = false;
  const pieces = createPieces();

  function read(json: string): void {
    const parsed = v.safeParse(said, jsonOf(json));
    if (!parsed.success) return;
    const { usage: whole, response, message } = parsed.output;
    const last = whole ?? response?.usage;
    // `message` is the beginning of a stream: what was read is known, what is written is not.
    const known = last ?? message?.usage;
    if (known) total = { ...total, ...withoutNulls(known) };
    if (last) complete = true;
  }

  function readLine(line: Buffer): void {
    if (!line.subarray(0, 5).equals(DATA)) return;
    events++;
    if (line.includes('"usage"')) read(line.subarray(5).toString());
  }

  function readStream(chunk: Buffer): void {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      readLine(pieces.take(chunk.subarray(from, end)));
      from = end + 1;
    }
    pieces.add(chunk.subarray(from));
  }

  return {
    sent(bytes) {
      sentBytes += bytes;
    },
    answered(status, headers) {
      failed = status >= 400;
      streamed = headers['content-type']?.startsWith('text/event-stream') ?? false;
    },
    received(chunk) {
      receivedBytes += chunk.length;
      if (streamed) readStream(chunk);
      else pieces.add(chunk);
    },
    tokens() {
      if (failed) return 0;
      if (!streamed) read(pieces.take(Buffer.alloc(0)).toString());
      const asked = inputOf(total) ?? Math.ceil(sentBytes / BYTES_PER_TOKEN);
      const written = total.output_tokens ?? total.completion_tokens ?? 0;
      if (complete) return asked + written;
      return asked + Math.max(written, streamed ? events : Math.ceil(receivedBytes / BYTES_PER_TOKEN));
    },
  };
}

function inputOf(given: Usage): number | undefined {
  const input = given.input_tokens ?? given.prompt_tokens;
  if (input === null || input === undefined) return undefined;
  return input + (given.cache_creation_input_tokens ?? 0) + (given.cache_read_input_tokens ?? 0);
}

function withoutNulls(given: Usage): Usage {
  return Object.fromEntries(Object.entries(given).filter(([, held]) => held !== null && held !== undefined));
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // Cut off, or no JSON: it says nothing.
  }
}

/** What came of a line whose end did not; nothing of one that is too long. */
function createPieces() {
  let held: Buffer[] = [];
  let bytes = 0;
  return {
    add(piece: Buffer): void {
      if (piece.length === 0) return;
      bytes += piece.length;
      // A copy: a part of a chunk would keep all of it.
      if (bytes <= MAX_READ_BYTES) held.push(Buffer.from(piece));
      else held = [];
    },
    /** All of it, with its end. */
    take(end: Buffer): Buffer {
      if (bytes === 0) return end;
      const all = bytes + end.length > MAX_READ_BYTES ? Buffer.alloc(0) : Buffer.concat([...held, end]);
      held = [];
      bytes = 0;
      return all;
    },
  };
}
