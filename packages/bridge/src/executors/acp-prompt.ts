/** What goes to an ACP agent: content blocks, MCP servers, and what of its settings has no way there. */
import type { ExecutorSettings, QueryOptions } from '@atoll/protocol/runner-link';
import { isRecord } from '../params.ts';
import { notForAgent } from './acp-failure.ts';

type Params = Record<string, unknown>;

/** What an agent said of itself in `initialize`, as far as it matters here. */
export type AcpCapabilities = {
  images: boolean;
  /** How it goes on with an earlier conversation: without repeating it, where it can. */
  resume: 'session/resume' | 'session/load' | undefined;
  mcp: { http: boolean; sse: boolean };
};

export function capabilitiesOf(initialized: unknown): AcpCapabilities {
  const said = member(initialized, 'agentCapabilities');
  const mcp = member(said, 'mcpCapabilities');
  const resumes = isRecord(member(member(said, 'sessionCapabilities'), 'resume'));
  const loads = member(said, 'loadSession') === true;
  return {
    images: member(member(said, 'promptCapabilities'), 'image') === true,
    resume: resumes ? 'session/resume' : loads ? 'session/load' : undefined,
    mcp: { http: member(mcp, 'http') === true, sse: member(mcp, 'sse') === true },
  };
}

/** Throws AcpFailure. */
export function promptOf(content: unknown, { images }: AcpCapabilities): Params[] {
  const blocks = Array.isArray(content) ? content : [{ type: 'text', text: content }];
  return blocks.map((block: unknown) => {
    if (!isRecord(block)) throw notForAgent('A content block must be an object.');
    const prompt = block.type === 'image' ? imageOf(block) : block;
    if (prompt.type === 'image' && !images) throw notForAgent('This agent takes no images.');
    if (!['text', 'image', 'audio', 'resource', 'resource_link'].includes(String(prompt.type)))
      throw notForAgent(`This agent takes no content of the type ${String(prompt.type).slice(0, 60)}.`);
    return prompt;
  });
}

/** As the Messages API has it, or as ACP has it already. */
function imageOf(block: Params): Params {
  const { source } = block;
  if (!isRecord(source)) return block;
  if (source.type !== 'base64') throw notForAgent('An image must come with its bytes (base64).');
  return { type: 'image', mimeType: source.media_type, data: source.data };
}

/** From the names and members of `.mcp.json` to ACP's list. Throws AcpFailure. */
export function mcpServersOf(servers: Params = {}, { mcp }: AcpCapabilities): Params[] {
  return Object.entries(servers).map(([name, server]) => {
    if (!isRecord(server)) throw notForAgent(`The MCP server ${name} must be an object.`);
    const { type = 'stdio', command, args = [], env, url, headers } = server;
    if (type === 'stdio') return { name, command, args, env: pairs(env) };
    if ((type === 'http' && mcp.http) || (type === 'sse' && mcp.sse))
      return { type, name, url, headers: pairs(headers) };
    throw notForAgent(`This agent cannot reach MCP servers by ${String(type)} (${name}).`);
  });
}

function pairs(values: unknown): { name: string; value: unknown }[] {
  return isRecord(values) ? Object.entries(values).map(([name, value]) => ({ name, value })) : [];
}

const UNSAYABLE_SETTINGS = ['systemPrompt', 'allowedTools', 'disallowedTools'] as const;
const UNSAYABLE_OPTIONS = ['maxTurns', 'maxBudgetUsd', 'outputFormat'] as const;

/** The names of what was asked for and ACP has no words for. */
export function unsayable(settings: ExecutorSettings, options: QueryOptions): string[] {
  return [
    ...UNSAYABLE_SETTINGS.filter((name) => settings[name] !== undefined),
    ...UNSAYABLE_OPTIONS.filter((name) => options[name] !== undefined),
  ];
}

export function member(value: unknown, name: string): unknown {
  return isRecord(value) ? value[name] : undefined;
}
