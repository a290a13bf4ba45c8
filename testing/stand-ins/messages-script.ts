/**
 * The default script: a model that understands a handful of sentences, so that tests of the whole platform can
 * make an agent write files, run commands, remember, take long and fail, by what the user says alone.
 *
 *   write <path>: <content>     Write tool, then says that it wrote it
 *   run <shell command>         Bash tool, then quotes what it printed
 *   call <tool> <json>          any tool, then quotes its result
 *   remember <fact>             kept nowhere but in the conversation
 *   what do you remember?       answers from the conversation in the request
 *   count slowly to <n>         a long stream, a number every 100 ms
 *   fail with <status>          the API's error of that status
 *   cut the stream              the connection breaks in the middle of the answer
 *   <anything else>             You said: …
 */
import { blocksOf, isRecord } from './messages-check.ts';
import type {
  ApiFailure,
  ContentBlock,
  MessagesRequest,
  Reply,
  ToolResult,
  ToolUse,
} from './messages-reply.ts';

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
  const write = /^write (\S+): ([\s\S]*)$/i.exec(said);
  if (write) return call('Write', { file_path: write[1], content: write[2] });
  const run = /^run ([\s\S]+)$/i.exec(said);
  if (run) return call('Bash', { command: run[1], description: 'Run what the user asked for' });
  const tool = /^call (\S+) (\{[\s\S]*\})$/i.exec(said);
  if (tool) return call(tool[1] ?? '', asInput(JSON.parse(tool[2] ?? '{}')));
  const count = /^count slowly to (\d+)/i.exec(said);
  if (count) return { blocks: [{ type: 'text', text: numbers(Number(count[1])) }], chunkDelayMs: 100 };
  const failure = /^fail with (\d{3})/i.exec(said);
  if (failure) return { error: failureOf(Number(failure[1])) };
  if (/^cut the stream/i.test(said))
    return { blocks: [{ type: 'text', text: numbers(20) }], cutAfterChunks: 5 };
  if (/^what do you remember/i.test(said)) return text(recall(request));
  const remember = /^remember ([\s\S]+)$/i.exec(said);
  return text(remember ? `I will remember: ${remember[1]}` : `You said: ${said}`);
}

/** The facts of the conversation's own `remember` sentences: what the request holds, and nothing else. */
function recall(request: MessagesRequest): string {
  const facts = request.messages
    .filter((message) => message.role === 'user')
    .map((message) => /^remember ([\s\S]+)$/i.exec(spokenText(blocksOf(message)))?.[1])
    .filter((fact) => fact !== undefined);
  return facts.length === 0 ? 'I remember nothing.' : `I remember: ${facts.join('; ')}`;
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

function numbers(to: number): string {
  return Array.from({ length: Math.min(to, 100_000) }, (_, index) => index + 1).join(' ');
}

function call(name: string, input: Record<string, unknown>): Reply {
  return { blocks: [{ type: 'tool_use', name, input }] };
}

function text(said: string): Reply {
  return { blocks: [{ type: 'text', text: said }] };
}
