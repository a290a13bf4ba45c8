/** What is said in a chat completion, in the words of the Messages API and back. */
import * as v from 'valibot';
import type { ApiMessage, ContentBlock, MessagesRequest, ReplyBlock } from './messages-reply.ts';

const toolCall = v.object({
  id: v.string(),
  function: v.object({ name: v.string(), arguments: v.string() }),
});

const parts = v.union([
  v.string(),
  v.array(v.looseObject({ type: v.string(), text: v.optional(v.string()) })),
]);

const chat = v.object({
  model: v.string(),
  messages: v.pipe(
    v.array(
      v.object({
        role: v.picklist(['system', 'developer', 'user', 'assistant', 'tool']),
        content: v.nullish(parts),
        tool_calls: v.nullish(v.array(toolCall)),
        tool_call_id: v.optional(v.string()),
      }),
    ),
    v.minLength(1),
  ),
  tools: v.optional(v.array(v.object({ function: v.object({ name: v.string() }) })), []),
  stream: v.optional(v.boolean(), false),
  stream_options: v.nullish(v.object({ include_usage: v.optional(v.boolean(), false) })),
});
export type ChatRequest = v.InferOutput<typeof chat>;
type ChatMessage = ChatRequest['messages'][number];

/** undefined when it is none. */
export function parseChat(body: unknown): ChatRequest | undefined {
  const parsed = v.safeParse(chat, body);
  return parsed.success ? parsed.output : undefined;
}

/** A chat without tools is one of the agent's own small requests. */
export function toMessages({ model, messages, tools }: ChatRequest): MessagesRequest {
  const said = messages.filter(({ role }) => role !== 'system' && role !== 'developer');
  return {
    model,
    max_tokens: tools.length === 0 ? 1 : 4096,
    messages: said.map(toMessage),
    tools: tools.map((tool) => ({ name: tool.function.name })),
  };
}

function toMessage({ role, content, tool_calls: calls, tool_call_id: id }: ChatMessage): ApiMessage {
  const text = textOf(content);
  if (role === 'tool')
    return { role: 'user', content: [{ type: 'tool_result', tool_use_id: id ?? '', content: text }] };
  if (role !== 'assistant') return { role: 'user', content: text };
  const used: ContentBlock[] = (calls ?? []).map((call) => ({
    type: 'tool_use',
    id: call.id,
    name: call.function.name,
    input: JSON.parse(call.function.arguments || '{}') as Record<string, unknown>,
  }));
  return { role: 'assistant', content: [{ type: 'text', text }, ...used] };
}

function textOf(content: ChatMessage['content']): string {
  if (typeof content === 'string') return content;
  return (content ?? []).map((part) => part.text ?? '').join('');
}

const USAGE = { prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 };

/** The chunks of a streamed answer: a word at a time, tool calls whole, then why it ended. */
export function* completionChunks(request: ChatRequest, blocks: readonly ReplyBlock[], number: number) {
  const chunk = (delta: object, finish_reason: string | null = null) => ({
    ...envelope(request, number, 'chat.completion.chunk'),
    choices: [{ index: 0, delta, finish_reason }],
  });
  yield chunk({ role: 'assistant', content: '' });
  for (const [index, block] of blocks.entries()) {
    if (block.type === 'text') for (const word of block.text.split(/(?<= )/)) yield chunk({ content: word });
    else yield chunk({ tool_calls: [{ index, ...callOf(block, number, index) }] });
  }
  yield chunk({}, finishOf(blocks));
  if (request.stream_options?.include_usage)
    yield { ...envelope(request, number, 'chat.completion.chunk'), choices: [], usage: USAGE };
}

export function completion(request: ChatRequest, blocks: readonly ReplyBlock[], number: number) {
  const texts = blocks.flatMap((block) => (block.type === 'text' ? [block.text] : []));
  const calls = blocks.flatMap((block, index) =>
    block.type === 'text' ? [] : [callOf(block, number, index)],
  );
  const message = {
    role: 'assistant',
    content: texts.join('') || null,
    ...(calls.length > 0 && { tool_calls: calls }),
  };
  return {
    ...envelope(request, number, 'chat.completion'),
    choices: [{ index: 0, message, finish_reason: finishOf(blocks) }],
    usage: USAGE,
  };
}

function envelope({ model }: ChatRequest, number: number, object: string) {
  return { id: `chatcmpl-standin-${number}`, object, created: 1_700_000_000, model };
}

function callOf({ name, input }: ReplyBlock & { type: 'tool_use' }, number: number, index: number) {
  const called = { name, arguments: JSON.stringify(input) };
  return { id: `call_standin_${number}_${index}`, type: 'function', function: called };
}

function finishOf(blocks: readonly ReplyBlock[]): string {
  return blocks.some(({ type }) => type === 'tool_use') ? 'tool_calls' : 'stop';
}
