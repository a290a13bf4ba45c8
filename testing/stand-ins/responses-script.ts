/**
 * The default script of the Responses API's stand-in: what its model answers to the sentences that it understands. It
 * uses the tools as Codex offers them: functions, or one tool that runs JavaScript in which they are called.
 */
import { isRecord } from './messages-check.ts';
import { isOutput } from './responses-check.ts';
import type { ApiFailure, InputItem, OfferedTool, Reply, ResponsesRequest } from './responses-reply.ts';
import { CUT, numbers, readSentence, recall, SLOW_MS } from './sentences.ts';

export type ResponsesScript = (request: ResponsesRequest) => Reply;

const QUOTE_CHARS = 2_000;
const SHELL = 'exec_command';
const PATCH = 'apply_patch';
/** Runs JavaScript. */
const CODE = 'exec';

export const defaultResponsesScript: ResponsesScript = (request) => {
  const { input } = request;
  const last = input.findLastIndex((item) => spoken(item) !== undefined);
  const outputs = input.slice(last + 1).filter(isOutput);
  if (outputs.length > 0) return text(outputs.map(quote).join('\n'));
  const item = input[last];
  return answer(request, (item && spoken(item)) ?? '');
};

function answer(request: ResponsesRequest, said: string): Reply {
  const read = readSentence(said);
  switch (read.kind) {
    case 'write':
      return write(request, read.path, read.content);
    case 'run':
      return call(request, SHELL, { cmd: read.command, yield_time_ms: 30_000 });
    case 'call':
      return call(request, read.tool, read.input);
    case 'count':
      return { items: [{ type: 'message', text: numbers(read.to) }], chunkDelayMs: SLOW_MS };
    case 'fail':
      return { error: failureOf(read.status) };
    case 'cut':
      return { items: [{ type: 'message', text: numbers(CUT.to) }], cutAfterChunks: CUT.afterChunks };
    case 'recall':
      return text(recall(request.input.flatMap((item) => spoken(item) ?? [])));
    case 'remember':
      return text(`I will remember: ${read.fact}`);
    case 'other':
      return text(`You said: ${said}`);
  }
}

function write(request: ResponsesRequest, path: string, content: string): Reply {
  const lines = content.split('\n').map((line) => `+${line}`);
  const patch = ['*** Begin Patch', `*** Add File: ${path}`, ...lines, '*** End Patch'].join('\n');
  return offered(request, PATCH) || offered(request, CODE)
    ? call(request, PATCH, patch)
    : call(request, SHELL, { cmd: `${PATCH} <<'PATCH'\n${patch}\nPATCH` });
}

function call(request: ResponsesRequest, tool: string, input: Record<string, unknown> | string): Reply {
  const direct = offered(request, tool);
  if (!direct && offered(request, CODE)) {
    const code = `const result = await tools.${tool}(${JSON.stringify(input)});
text(typeof result === 'string' ? result : JSON.stringify(result));`;
    return call(request, CODE, code);
  }
  const named = direct ?? { name: tool };
  return {
    items: [
      typeof input === 'string'
        ? { type: 'custom_tool_call', ...named, input }
        : { type: 'function_call', ...named, arguments: input },
    ],
  };
}

type Named = { name: string; namespace?: string };

/** A tool by its name; one in a namespace also by both, as in code. */
function offered({ tools = [], input }: ResponsesRequest, wanted: string): Named | undefined {
  const all = [...tools, ...input.flatMap((item) => item.tools ?? [])];
  return all.flatMap(names).find(({ name, namespace }) => [name, `${namespace}__${name}`].includes(wanted));
}

function names({ type, name, tools = [] }: OfferedTool): Named[] {
  if (type !== 'namespace') return name === undefined ? [] : [{ name }];
  return tools.flatMap((tool) =>
    tool.name === undefined ? [] : [{ name: tool.name, ...(name !== undefined && { namespace: name }) }],
  );
}

/** What the user typed: the last text of a message that is none of those which Codex writes itself. */
function spoken({ role, content }: InputItem): string | undefined {
  if (role !== 'user') return undefined;
  return texts(content).findLast((piece) => !/^(<|# AGENTS\.md)/.test(piece));
}

function quote({ output }: InputItem): string {
  const said = typeof output === 'string' ? output : texts(output).join('');
  return `The tool answered: ${said.slice(0, QUOTE_CHARS)}`;
}

function texts(content: unknown): string[] {
  if (typeof content === 'string') return [content];
  const parts = Array.isArray(content) ? content.filter(isRecord) : [];
  return parts.flatMap((part) => (typeof part.text === 'string' ? [part.text] : []));
}

function failureOf(status: number): ApiFailure {
  const message = `The user asked for ${status}.`;
  if (status === 401) return { status, type: 'invalid_request_error', code: 'invalid_api_key', message };
  if (status === 429)
    return {
      status,
      type: 'rate_limit_exceeded',
      code: 'rate_limit_exceeded',
      message,
      retryAfterSeconds: 1,
    };
  if (status >= 500) return { status, type: 'server_error', code: null, message };
  return { status, type: 'invalid_request_error', code: null, message };
}

function text(said: string): Reply {
  return { items: [{ type: 'message', text: said }] };
}
