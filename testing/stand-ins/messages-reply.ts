/**
 * What the stand-in of the Messages API can answer, and how an answer looks on the wire
 * (https://docs.anthropic.com/en/api/messages-streaming). A script makes a Reply; this file knows the bytes.
 */

export type MessagesRequest = {
  model: string;
  max_tokens: number;
  messages: ApiMessage[];
  system?: string | TextBlock[];
  tools?: ApiTool[];
  stream?: boolean;
};

export type ApiMessage = { role: 'user' | 'assistant'; content: string | ContentBlock[] };
export type TextBlock = { type: 'text'; text: string };
export type ToolUse = { type: 'tool_use'; id: string; name: string; input: Record<string, unknown> };
export type ToolResult = {
  type: 'tool_result';
  tool_use_id: string;
  content?: string | ContentBlock[];
  is_error?: boolean;
};
export type ContentBlock = TextBlock | ToolUse | ToolResult | { type: 'other' };
export type ApiTool = { name: string; input_schema?: Record<string, unknown> };

export type ReplyBlock =
  | { type: 'text'; text: string }
  | { type: 'tool_use'; name: string; input: Record<string, unknown> };

export type Reply =
  | {
      blocks: readonly ReplyBlock[];
      /** Milliseconds between two deltas; the server's own default otherwise. */
      chunkDelayMs?: number;
      /** The connection is cut after so many deltas, without `message_stop`. */
      cutAfterChunks?: number;
    }
  | { error: ApiFailure };

export type ApiFailure = { status: number; type: string; message: string; retryAfterSeconds?: number };

export type ReplyIds = { message: string; tool: (index: number) => string };

type Usage = {
  input_tokens: number;
  output_tokens: number;
  cache_read_input_tokens: number;
  cache_creation_input_tokens: number;
};

const DELTA_CHARS = 24;

/** The events of a streamed answer, in order. `delta` marks those that a slow stream waits before. */
export function* replyEvents(
  request: MessagesRequest,
  blocks: readonly ReplyBlock[],
  ids: ReplyIds,
): Generator<{ text: string; delta: boolean }> {
  const usage = usageOf(request, blocks);
  const message = { ...envelope(request, ids), content: [], stop_reason: null, stop_sequence: null };
  yield sse('message_start', { message: { ...message, usage: { ...usage, output_tokens: 1 } } });
  yield sse('ping', {});
  for (const [index, block] of blocks.entries()) {
    const start =
      block.type === 'text' ? { type: 'text', text: '' } : { ...toolUse(block, index, ids), input: {} };
    yield sse('content_block_start', { index, content_block: start });
    for (const piece of pieces(block)) {
      const delta =
        block.type === 'text'
          ? { type: 'text_delta', text: piece }
          : { type: 'input_json_delta', partial_json: piece };
      yield { ...sse('content_block_delta', { index, delta }), delta: true };
    }
    yield sse('content_block_stop', { index });
  }
  const delta = { stop_reason: stopReason(blocks), stop_sequence: null };
  yield sse('message_delta', { delta, usage: { output_tokens: usage.output_tokens } });
  yield sse('message_stop', {});
}

/** The same answer, not streamed. */
export function replyMessage(
  request: MessagesRequest,
  blocks: readonly ReplyBlock[],
  ids: ReplyIds,
): unknown {
  return {
    ...envelope(request, ids),
    content: blocks.map((block, index) => (block.type === 'text' ? block : toolUse(block, index, ids))),
    stop_reason: stopReason(blocks),
    stop_sequence: null,
    usage: usageOf(request, blocks),
  };
}

/** About four characters to a token, which is near enough for tests of usage. */
export function countTokens(value: unknown): number {
  return Math.max(1, Math.ceil(JSON.stringify(value ?? '').length / 4));
}

export function errorBody(failure: ApiFailure, requestId: string): unknown {
  return {
    type: 'error',
    error: { type: failure.type, message: failure.message },
    request_id: requestId,
  };
}

function envelope(request: MessagesRequest, ids: ReplyIds) {
  return { id: ids.message, type: 'message', role: 'assistant', model: request.model };
}

function toolUse(block: ReplyBlock & { type: 'tool_use' }, index: number, ids: ReplyIds) {
  return { type: 'tool_use', id: ids.tool(index), name: block.name, input: block.input };
}

/** Text goes out word by word, so that an interrupt falls between two words. */
function pieces(block: ReplyBlock): string[] {
  if (block.type === 'text') return block.text.match(/\S+\s*|\s+/g) ?? [];
  const json = JSON.stringify(block.input);
  return json.match(new RegExp(`.{1,${DELTA_CHARS}}`, 'gsu')) ?? [];
}

function stopReason(blocks: readonly ReplyBlock[]): string {
  return blocks.some((block) => block.type === 'tool_use') ? 'tool_use' : 'end_turn';
}

function usageOf(request: MessagesRequest, blocks: readonly ReplyBlock[]): Usage {
  return {
    input_tokens: countTokens(request.messages),
    output_tokens: countTokens(blocks),
    cache_read_input_tokens: 0,
    cache_creation_input_tokens: 0,
  };
}

function sse(event: string, data: Record<string, unknown>): { text: string; delta: boolean } {
  return { text: `event: ${event}\ndata: ${JSON.stringify({ type: event, ...data })}\n\n`, delta: false };
}
