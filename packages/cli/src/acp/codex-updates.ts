/** Codex's notifications as ACP's updates. As with any executor, what is not as expected says nothing. */
import type { PlanEntry, SessionUpdate, ToolCall, ToolCallContent } from '@agentclientprotocol/sdk';
import { asText, type Fields, fields } from '../render/fields.ts';
import { oneLine } from '../terminal.ts';
import { pathInside } from './claude-tools.ts';
import { list, say, shownContent } from './claude-updates.ts';

export type CodexUpdates = (method: string, params: Fields) => SessionUpdate[];

const MAX_TITLE_CHARS = 200;

export function createCodexUpdates(): CodexUpdates {
  /** Items whose text came in pieces; whole, they would say the same again. */
  const inPieces = new Set<string>();

  function piece(
    chunk: 'agent_message_chunk' | 'agent_thought_chunk',
    { itemId, delta }: Fields,
  ): SessionUpdate[] {
    inPieces.add(asText(itemId));
    return say(chunk, asText(delta));
  }

  function completed(item: Fields): SessionUpdate[] {
    const told = inPieces.delete(asText(item.id));
    if (item.type === 'agentMessage') return told ? [] : say('agent_message_chunk', asText(item.text));
    if (item.type === 'reasoning') return told ? [] : say('agent_thought_chunk', reasoningOf(item));
    return resultOf(item);
  }

  return (method, params) => {
    const item = fields(params.item);
    switch (method) {
      case 'item/agentMessage/delta':
        return piece('agent_message_chunk', params);
      case 'item/reasoning/textDelta':
      case 'item/reasoning/summaryTextDelta':
        return piece('agent_thought_chunk', params);
      case 'item/started':
        return callOf(item);
      case 'item/completed':
        return completed(item);
      case 'turn/plan/updated':
        return [{ sessionUpdate: 'plan', entries: planOf(params.plan) }];
      default:
        return [];
    }
  };
}

function callOf(item: Fields): SessionUpdate[] {
  const toolCallId = asText(item.id);
  const described = describe(item);
  if (toolCallId === '' || described === undefined) return [];
  return [{ sessionUpdate: 'tool_call', toolCallId, status: 'in_progress', ...described }];
}

/** Tools have the names under which they are asked about. */
function describe(item: Fields): Omit<ToolCall, 'toolCallId'> | undefined {
  if (item.type === 'commandExecution') {
    const command = asText(item.command);
    return { name: 'shell', title: title(command || 'shell'), kind: 'execute', rawInput: { command } };
  }
  if (item.type === 'mcpToolCall') {
    const name = `mcp__${asText(item.server)}__${asText(item.tool)}`;
    return { name, title: title(name), kind: 'other', rawInput: item.arguments };
  }
  if (item.type === 'webSearch')
    return { name: 'web_search', title: title(`web_search ${asText(item.query)}`), kind: 'fetch' };
  if (item.type !== 'fileChange') return undefined;
  const changes = list(item.changes);
  const paths = changes.map(({ path }) => pathInside(asText(path))).filter((path) => path !== '');
  return {
    name: 'apply_patch',
    title: title(`apply_patch ${paths.join(' ')}`),
    kind: 'edit',
    locations: paths.map((path) => ({ path })),
    content: changes.flatMap(({ diff }) => textOf(asText(diff))),
  };
}

function resultOf(item: Fields): SessionUpdate[] {
  const toolCallId = asText(item.id);
  if (toolCallId === '' || describe(item) === undefined) return [];
  const status = item.status === undefined || item.status === 'completed' ? 'completed' : 'failed';
  const content = textOf(asText(item.aggregatedOutput) || mcpOutputOf(item));
  return [{ sessionUpdate: 'tool_call_update', toolCallId, status, ...(content.length > 0 && { content }) }];
}

function mcpOutputOf({ result, error }: Fields): string {
  const said = list(fields(result).content).map(({ text }) => asText(text));
  return said.join('\n') || asText(fields(error).message);
}

function textOf(text: string): ToolCallContent[] {
  return text === '' ? [] : shownContent([{ type: 'text', text }]);
}

function reasoningOf({ summary, content }: Fields): string {
  const parts = [summary, content].find((list) => Array.isArray(list) && list.length > 0);
  return Array.isArray(parts) ? parts.map(asText).join('\n\n') : '';
}

function planOf(plan: unknown): PlanEntry[] {
  const statuses: Readonly<Record<string, PlanEntry['status']>> = {
    completed: 'completed',
    inProgress: 'in_progress',
  };
  return list(plan).map(({ step, status }) => ({
    content: asText(step),
    priority: 'medium',
    status: statuses[asText(status)] ?? 'pending',
  }));
}

function title(text: string): string {
  return oneLine(text, MAX_TITLE_CHARS);
}
