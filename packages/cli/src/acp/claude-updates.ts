/**
 * Messages of the Claude Agent SDK, and of programs that speak alike, as ACP's updates. Every field may be missing or of
 * another kind: what is not as expected says nothing to the editor.
 */
import type { ContentBlock, PlanEntry, SessionUpdate, ToolCallContent } from '@agentclientprotocol/sdk';
import { asText, type Fields, fields } from '../render/fields.ts';
import { describeTool } from './claude-tools.ts';
import { shownBlock } from './prompt-content.ts';

export type ClaudeUpdates = (message: Fields) => SessionUpdate[];

const TODO = 'TodoWrite';

export function createClaudeUpdates(): ClaudeUpdates {
  /** The answer whose pieces come; whole, it would say the same again. */
  let inPieces = '';
  /** Tool calls that are no tool call to the editor, but its plan. */
  const plans = new Set<string>();

  function piece(event: Fields): SessionUpdate[] {
    if (event.type === 'message_start') inPieces = '';
    const { type, text, thinking } = fields(event.delta);
    if (type === 'text_delta') return say('agent_message_chunk', asText(text));
    if (type === 'thinking_delta') return say('agent_thought_chunk', asText(thinking));
    return [];
  }

  function whole(block: Fields, told: boolean): SessionUpdate[] {
    if (block.type === 'text') return told ? [] : say('agent_message_chunk', asText(block.text));
    if (block.type === 'thinking') return told ? [] : say('agent_thought_chunk', asText(block.thinking));
    const id = asText(block.id);
    if (block.type !== 'tool_use' || id === '') return [];
    const input = fields(block.input);
    if (block.name !== TODO)
      return [
        {
          sessionUpdate: 'tool_call',
          toolCallId: id,
          status: 'in_progress',
          ...describeTool(asText(block.name), input),
        },
      ];
    plans.add(id);
    return [{ sessionUpdate: 'plan', entries: planOf(input.todos) }];
  }

  function result(block: Fields): SessionUpdate[] {
    const toolCallId = asText(block.tool_use_id);
    if (block.type !== 'tool_result' || toolCallId === '' || plans.delete(toolCallId)) return [];
    const status = block.is_error === true ? 'failed' : 'completed';
    const content = outputOf(block.content);
    return [
      { sessionUpdate: 'tool_call_update', toolCallId, status, ...(content.length > 0 && { content }) },
    ];
  }

  return (message) => {
    if (message.type === 'stream_event') {
      // A subagent's pieces would run into those of the answer.
      if (typeof message.parent_tool_use_id === 'string') return [];
      const event = fields(message.event);
      const updates = piece(event);
      if (event.type === 'message_start') inPieces = asText(fields(event.message).id);
      return updates;
    }
    const { id, content } = fields(message.message);
    const blocks = typeof content === 'string' ? [{ type: 'text', text: content }] : list(content);
    if (message.type === 'user') return blocks.flatMap(result);
    if (message.type !== 'assistant') return [];
    // What a subagent says is in what its tool gives back.
    const told = typeof message.parent_tool_use_id === 'string' || (inPieces !== '' && id === inPieces);
    return blocks.flatMap((block) => whole(block, told));
  };
}

/** Nothing for an empty text. */
export function say(
  sessionUpdate: 'agent_message_chunk' | 'agent_thought_chunk',
  text: string,
): SessionUpdate[] {
  return text === '' ? [] : [{ sessionUpdate, content: { type: 'text', text } }];
}

export function shownContent(blocks: readonly ContentBlock[]): ToolCallContent[] {
  return blocks.map((content) => ({ type: 'content', content }));
}

function outputOf(content: unknown): ToolCallContent[] {
  if (typeof content === 'string')
    return content === '' ? [] : shownContent([{ type: 'text', text: content }]);
  return shownContent(list(content).flatMap(shownBlock));
}

function planOf(todos: unknown): PlanEntry[] {
  return list(todos).map(({ content, status }) => ({
    content: asText(content),
    priority: 'medium',
    status: status === 'completed' || status === 'in_progress' ? status : 'pending',
  }));
}

export function list(value: unknown): Fields[] {
  return Array.isArray(value) ? value.map(fields) : [];
}
