/** The default script of the Messages API's stand-in: what its model answers to the sentences that it understands. */
import { blocksOf, isRecord } from './messages-check.ts';
import type {
  ApiFailure,
  ContentBlock,
  MessagesRequest,
  Reply,
  ToolResult,
  ToolUse,
} from './messages-reply.ts';
import { CUT, numbers, readSentence, recall, SLOW_MS } from './sentences.ts';

export type Script = (request: MessagesRequest) => Reply;

const QUOTE_CHARS = 2_000;

export const defaultScript: Script = (request) => {
  if (isSideRequest(request)) return text(sideAnswer(request));
  const blocks = blocksOf(request.messages.findLast((message) => message.role === 'user'));
  const results = blocks.filter((block) => block.type === 'tool_result');
  const said = spokenText(blocks);
  // Results of a turn that was cut short travel with the next thing the user says.
  if (results.length > 0 && said === '') return afterTools(request, results);
  const structured = request.tools?.find((tool) => tool.name === 'StructuredOutput');
  return structured
    ? call('StructuredOutput', asInput(sampleOf(structured.input_schema)))
    : answer(request, said);
};

function answer(request: MessagesRequest, said: string): Reply {
  const read = readSentence(said);
  switch (read.kind) {
    case 'write':
      return call('Write', { file_path: read.path, content: read.content });
    case 'run':
      return call('Bash', { command: read.command, description: 'Run what the user asked for' });
    case 'call':
      return call(read.tool, read.input);
    case 'count':
      return { blocks: [{ type: 'text', text: numbers(read.to) }], chunkDelayMs: SLOW_MS };
    case 'fail':
      return { error: failureOf(read.status) };
    case 'cut':
      return { blocks: [{ type: 'text', text: numbers(CUT.to) }], cutAfterChunks: CUT.afterChunks };
    case 'recall':
      return text(recall(saidIn(request)));
    case 'remember':
      return text(`I will remember: ${read.fact}`);
    case 'other':
      return text(`You said: ${said}`);
  }
}

/** By the user, from the request and nothing else. */
function saidIn(request: MessagesRequest): string[] {
  return request.messages
    .filter((message) => message.role === 'user')
    .map((message) => spokenText(blocksOf(message)));
}

function afterTools(request: MessagesRequest, results: readonly ToolResult[]): Reply {
  const sentences = results.map((result) => {
    const use = toolUseOf(request, result.tool_use_id);
    const said = resultText(result).slice(0, QUOTE_CHARS);
    if (result.is_error) return `${use?.name ?? 'The tool'} failed: ${said}`;
    if (use?.name === 'Write') return `I wrote ${String(use.input.file_path)}.`;
    return use?.name === 'Bash' ? `The command printed: ${said}` : `The tool answered: ${said}`;
  });
  return text(sentences.join('\n'));
}

function toolUseOf(request: MessagesRequest, id: string): ToolUse | undefined {
  return request.messages
    .flatMap(blocksOf)
    .find((block): block is ToolUse => block.type === 'tool_use' && block.id === id);
}

/** What the user typed: the last text that is not one of the reminders the CLI adds around it. */
function spokenText(blocks: readonly ContentBlock[]): string {
  const texts = blocks
    .flatMap((block) => (block.type === 'text' ? [withoutReminders(block.text)] : []))
    .filter((piece) => piece !== '');
  return texts.at(-1) ?? '';
}

function withoutReminders(piece: string): string {
  return piece.replace(/<system-reminder>[\s\S]*?<\/system-reminder>/g, '').trim();
}

function resultText(result: ToolResult): string {
  if (typeof result.content === 'string') return result.content;
  return (result.content ?? []).map((block) => (block.type === 'text' ? block.text : '')).join('');
}

/** Titles, quota probes and topic checks: the CLI's own small requests, which offer no tools. */
function isSideRequest(request: MessagesRequest): boolean {
  return (
    (request.tools?.length ?? 0) === 0 && (request.max_tokens <= 512 || outputSchema(request) !== undefined)
  );
}

function sideAnswer(request: MessagesRequest): string {
  const schema = outputSchema(request);
  return schema === undefined ? 'ok' : JSON.stringify(sampleOf(schema));
}

function outputSchema(request: MessagesRequest): unknown {
  const config: unknown = Reflect.get(request, 'output_config') ?? Reflect.get(request, 'output_format');
  const format = isRecord(config) && isRecord(config.format) ? config.format : config;
  return isRecord(format) ? format.schema : undefined;
}

/** A small value that satisfies the common part of JSON Schema. */
export function sampleOf(schema: unknown): unknown {
  if (!isRecord(schema)) return 'sample';
  if (Array.isArray(schema.enum)) return schema.enum[0];
  if ('const' in schema) return schema.const;
  if (schema.type === 'object' || isRecord(schema.properties)) {
    const properties = isRecord(schema.properties) ? schema.properties : {};
    return Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, sampleOf(value)]));
  }
  if (schema.type === 'array') return [sampleOf(schema.items)];
  if (schema.type === 'number' || schema.type === 'integer') return 1;
  if (schema.type === 'boolean') return true;
  return schema.type === 'null' ? null : 'sample';
}

function asInput(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
}

function failureOf(status: number): ApiFailure {
  const types: Record<number, string> = {
    400: 'invalid_request_error',
    401: 'authentication_error',
    403: 'permission_error',
    404: 'not_found_error',
    413: 'request_too_large',
    429: 'rate_limit_error',
    529: 'overloaded_error',
  };
  const type = types[status] ?? 'api_error';
  const message = status === 529 ? 'Overloaded' : `The user asked for ${status}.`;
  return { status, type, message, ...(status === 429 && { retryAfterSeconds: 1 }) };
}

function call(name: string, input: Record<string, unknown>): Reply {
  return { blocks: [{ type: 'tool_use', name, input }] };
}

function text(said: string): Reply {
  return { blocks: [{ type: 'text', text: said }] };
}
