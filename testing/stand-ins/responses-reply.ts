/**
 * What the stand-in of the Responses API can answer, and how an answer looks on the wire
 * (https://platform.openai.com/docs/api-reference/responses-streaming). A script makes a Reply; this file knows the
 * bytes.
 */
export type ResponsesRequest = {
  model: string;
  input: readonly InputItem[];
  tools?: readonly OfferedTool[];
  stream?: boolean;
};

/** Of those that a script looks into; there are more. */
export type InputItem = {
  type?: string;
  role?: string;
  content?: unknown;
  call_id?: string;
  name?: string;
  output?: unknown;
  /** Of `additional_tools`: tools offered in the middle of the conversation. */
  tools?: readonly OfferedTool[];
};

export type OfferedTool = { type: string; name?: string; tools?: readonly OfferedTool[] };

export type ReplyItem =
  | { type: 'message'; text: string }
  | { type: 'function_call'; name: string; namespace?: string; arguments: Record<string, unknown> }
  | { type: 'custom_tool_call'; name: string; namespace?: string; input: string };

export type Reply =
  | {
      items: readonly ReplyItem[];
      /** Milliseconds between two deltas; the server's own default otherwise. */
      chunkDelayMs?: number;
      /** The connection is cut after so many deltas, without `response.completed`. */
      cutAfterChunks?: number;
    }
  | { error: ApiFailure };

export type ApiFailure = {
  status: number;
  type: string;
  code: string | null;
  message: string;
  retryAfterSeconds?: number;
};

export type StreamedEvent = { text: string; delta: boolean };
type Fields = Record<string, unknown>;

const DELTA_CHARS = 24;

/** The events of a streamed answer, in order. `delta` marks those that a slow stream waits before. */
export function* replyEvents(
  request: ResponsesRequest,
  items: readonly ReplyItem[],
  number: number,
): Generator<StreamedEvent> {
  let sequence = 0;
  const event = (type: string, fields: Fields): StreamedEvent => ({
    text: `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence++, ...fields })}\n\n`,
    delta: type.endsWith('.delta'),
  });
  const response = { ...envelope(request, number), status: 'in_progress', output: [], usage: null };
  yield event('response.created', { response });
  yield event('response.in_progress', { response });
  for (const [output_index, item] of items.entries()) {
    const id = `item_standin_${number}_${output_index}`;
    yield event('response.output_item.added', { output_index, item: begun(item, id) });
    for (const [type, fields] of inside(item)) yield event(type, { item_id: id, output_index, ...fields });
    yield event('response.output_item.done', { output_index, item: whole(item, id) });
  }
  yield event('response.completed', { response: replyResponse(request, items, number) });
}

/** The same answer, not streamed. */
export function replyResponse(
  request: ResponsesRequest,
  items: readonly ReplyItem[],
  number: number,
): Fields {
  const output = items.map((item, index) => whole(item, `item_standin_${number}_${index}`));
  return { ...envelope(request, number), status: 'completed', output, usage: usageOf(request, items) };
}

export function errorBody({ type, code, message }: ApiFailure): unknown {
  return { error: { message, type, param: null, code } };
}

function envelope({ model }: ResponsesRequest, number: number): Fields {
  return { id: `resp_standin_${number}`, object: 'response', created_at: 1_700_000_000, model, error: null };
}

function begun(item: ReplyItem, id: string): Fields {
  if (item.type === 'message') return { ...message(id), status: 'in_progress', content: [] };
  const { arguments: _, input: __, ...call } = whole(item, id);
  return {
    ...call,
    status: 'in_progress',
    ...(item.type === 'function_call' ? { arguments: '' } : { input: '' }),
  };
}

function whole(item: ReplyItem, id: string): Fields {
  if (item.type === 'message')
    return { ...message(id), status: 'completed', content: [outputText(item.text)] };
  const call = { ...item, id, call_id: `call_${id}`, status: 'completed' };
  return item.type === 'function_call' ? { ...call, arguments: JSON.stringify(item.arguments) } : call;
}

/** What is told between an item's beginning and its end. */
function* inside(item: ReplyItem): Generator<[string, Fields]> {
  if (item.type === 'message') {
    const place = { content_index: 0 };
    yield ['response.content_part.added', { ...place, part: outputText('') }];
    for (const delta of words(item.text)) yield ['response.output_text.delta', { ...place, delta }];
    yield ['response.output_text.done', { ...place, text: item.text }];
    yield ['response.content_part.done', { ...place, part: outputText(item.text) }];
    return;
  }
  const isFunction = item.type === 'function_call';
  const name = isFunction ? 'response.function_call_arguments' : 'response.custom_tool_call_input';
  const text = isFunction ? JSON.stringify(item.arguments) : item.input;
  for (const delta of pieces(text)) yield [`${name}.delta`, { delta }];
  yield [`${name}.done`, isFunction ? { arguments: text } : { input: text }];
}

function message(id: string): Fields {
  return { id, type: 'message', role: 'assistant' };
}

function outputText(text: string): Fields {
  return { type: 'output_text', text, annotations: [] };
}

/** Word by word, so that an interrupt falls between two words. */
function words(text: string): string[] {
  return text.match(/\S+\s*|\s+/g) ?? [];
}

function pieces(text: string): string[] {
  return text.match(new RegExp(`.{1,${DELTA_CHARS}}`, 'gsu')) ?? [];
}

/** About four characters to a token, which is near enough for tests of usage. */
function usageOf(request: ResponsesRequest, items: readonly ReplyItem[]): Fields {
  const count = (value: unknown) => Math.max(1, Math.ceil(JSON.stringify(value).length / 4));
  const [input_tokens, output_tokens] = [count(request.input), count(items)];
  return {
    input_tokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: input_tokens + output_tokens,
  };
}
